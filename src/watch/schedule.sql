/*
 * schedule.sql
 *	  Recording reports by the clock, with pg_cron.
 *
 * pg_cron lives in one database of the server and is found by its entry in
 * pg_extension: a schema "cron" that somebody else made is not asked.
 */

-- The qualified names of what is needed of pg_cron. Raises if it is not here,
-- and says where it is or how it gets here.
CREATE FUNCTION integrity.pg_cron(
  schedule text, OUT schedule_function text, OUT unschedule_function text, OUT job_table text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  extension oid := (SELECT e.oid FROM pg_extension AS e WHERE e.extname = 'pg_cron');
  home text;
BEGIN
  IF extension IS NULL THEN
    BEGIN
      home := current_setting('cron.database_name', true);
    EXCEPTION WHEN insufficient_privilege THEN
      -- which shows that there is such a setting
      RAISE feature_not_supported USING
        MESSAGE = 'pg_cron is not installed in this database',
        HINT = 'Ask a superuser: SHOW cron.database_name says in which database it can be.';
    END;
  END IF;

  IF extension IS NULL AND home IS NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'pg_cron is not installed on this server',
      HINT = format('Install it (Debian: apt-get install postgresql-%s-cron), set shared_preload_libraries = ''pg_cron'' '
                    'and cron.database_name = %L in postgresql.conf, restart the server, and run CREATE EXTENSION pg_cron.',
                    current_setting('server_version_num')::integer / 10000, current_database());
  ELSIF extension IS NULL AND home = current_database() THEN
    RAISE undefined_object USING
      MESSAGE = 'extension "pg_cron" does not exist in this database',
      HINT = 'CREATE EXTENSION pg_cron;';
  ELSIF extension IS NULL THEN
    -- a job's name is unique in all databases
    RAISE feature_not_supported USING
      MESSAGE = format('pg_cron is in database "%s", not in this one', home),
      HINT = CASE WHEN schedule IS NULL
        THEN format('Run there: SELECT cron.unschedule(%L);', 'integrity_record_report_' || current_database())
        ELSE format('Run there: SELECT cron.schedule_in_database(%L, %L, %L, %L);',
                    'integrity_record_report_' || current_database(), schedule, 'SELECT integrity.record_report()', current_database()) END;
  END IF;

  SELECT max(m.name) FILTER (WHERE m.proname = 'schedule' AND m.pronargs = 3),
         max(m.name) FILTER (WHERE m.proname = 'unschedule' AND m.proargtypes[0] = 'int8'::regtype)
    INTO schedule_function, unschedule_function
    FROM (SELECT p.*, format('%I.%I', n.nspname, p.proname) AS name
            FROM pg_depend AS d
            JOIN pg_proc AS p ON p.oid = d.objid
            JOIN pg_namespace AS n ON n.oid = p.pronamespace
           WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
             AND d.classid = 'pg_proc'::regclass) AS m;
  SELECT format('%I.%I', n.nspname, c.relname) INTO job_table
    FROM pg_depend AS d
    JOIN pg_class AS c ON c.oid = d.objid AND c.relname = 'job'
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
     AND d.classid = 'pg_class'::regclass;
  IF schedule_function IS NULL OR unschedule_function IS NULL OR job_table IS NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'this version of pg_cron is too old',
      HINT = 'It must know jobs with a name, as 1.3 and later do. ALTER EXTENSION pg_cron UPDATE;';
  END IF;
END
$$;

-- Removes the jobs of this database that the caller may see: his own, or
-- everybody's if he is a superuser. Returns how many.
CREATE FUNCTION integrity.remove_jobs(cron record, spared_role name) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $$
DECLARE
  removed bigint;
BEGIN
  EXECUTE format($query$
    SELECT pg_catalog.count(%1$s(j.jobid))
      FROM %2$s AS j
     WHERE j.jobname OPERATOR(pg_catalog.=) 'integrity_record_report'
       AND j.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
       AND j.username::pg_catalog.name IS DISTINCT FROM $1
    $query$, cron.unschedule_function, cron.job_table)
    INTO removed USING spared_role;
  RETURN removed;
END
$$;

/**
 * Has pg_cron call integrity.record_report() in this database by the clock, as the current role. The job is named
 * `integrity_record_report`. Calling it again changes the time; a superuser's call also replaces the job of another role.
 *
 * pg_cron must be installed in this database. If it is installed in another one, the HINT of the error is the
 * statement to run there.
 *
 * Parameters:
 *   cron  when, as pg_cron understands it: minute, hour, day of month, month, day of week; in GMT unless cron.timezone
 *         says otherwise. pg_cron 1.5 and later also take '30 seconds'
 *
 * Returns: the jobid of the job.
 *
 * Errors: 22004 no time is given; 0A000 pg_cron is not on this server, or in another database; 42704 it was not
 * created in this database; 42501 you may not use the schema cron; what pg_cron says of a time that it does not understand.
 *
 * Example:
 *   SELECT integrity.schedule('0 3 * * *');
 */
CREATE FUNCTION integrity.schedule(cron text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  pg_cron record;
  job bigint;
BEGIN
  IF cron IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'cron must not be null';
  END IF;
  pg_cron := integrity.pg_cron(cron);
  PERFORM integrity.remove_jobs(pg_cron, current_user);
  EXECUTE format('SELECT %s(%L, $1, %L)', pg_cron.schedule_function, 'integrity_record_report', 'SELECT integrity.record_report()')
    INTO job USING cron;
  RETURN job;
END
$$;

/**
 * Takes back what integrity.schedule() did in this database: the job of the current role, for a superuser those of all.
 *
 * Returns: whether there was one.
 *
 * Errors: 0A000 pg_cron is not on this server, or in another database; 42704 it was not created in this database;
 * 42501 you may not use the schema cron.
 *
 * Example:
 *   SELECT integrity.unschedule();
 */
CREATE FUNCTION integrity.unschedule() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT integrity.remove_jobs(integrity.pg_cron(NULL), NULL) > 0 $$;
