-- From the first version to this one: what its parts changed, and nothing else.
\echo Use "ALTER EXTENSION integrity UPDATE TO '0.2.0'" to load this file. \quit

-- The event triggers fire for more commands. Their tags cannot be altered.
DROP EVENT TRIGGER integrity_complete_rule;
CREATE EVENT TRIGGER integrity_complete_rule ON ddl_command_end
	WHEN TAG IN ('CREATE TRIGGER', 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER TABLE', 'CREATE SCHEMA', 'ALTER EXTENSION')
	EXECUTE FUNCTION integrity.complete_rule();
ALTER EVENT TRIGGER integrity_complete_rule ENABLE ALWAYS;

DROP EVENT TRIGGER integrity_keep_keys;
CREATE EVENT TRIGGER integrity_keep_keys ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'CREATE TRIGGER', 'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION', 'DROP ACCESS METHOD', 'DROP COLLATION',
		'DROP DOMAIN', 'DROP FUNCTION', 'DROP LANGUAGE', 'DROP OPERATOR', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY',
		'DROP ROUTINE', 'DROP TRIGGER', 'DROP TYPE')
	EXECUTE FUNCTION integrity.keep_keys();
ALTER EVENT TRIGGER integrity_keep_keys ENABLE ALWAYS;

-- UPDATEs are checked by a trigger of their own. Rules that were declared before fire on them themselves, and go on doing so.
CREATE FUNCTION integrity.check_update() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'integrity_check_update';
CREATE FUNCTION integrity.refers_anew("any", "any", "any") RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'integrity_refers_anew';
CREATE FUNCTION integrity.updates_are_checked(rule_trigger oid) RETURNS boolean
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'integrity_updates_are_checked';

-- A disabled event trigger is advised on, and guards before repairs.
CREATE OR REPLACE FUNCTION integrity.advice(rule integrity.reference, references_broken bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  disabled record;
BEGIN
  -- A trigger and a foreign key can have one name, but the functions that take a
  -- rule's name cannot tell them apart.
  IF (SELECT pg_catalog.count(*) > 1 FROM integrity.reference AS f
       WHERE f.referencing_table = rule.referencing_table AND f.rule_name = rule.rule_name) THEN
    RETURN pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I;', rule.referencing_table, rule.rule_name,
                             pg_catalog.left(rule.rule_name::text, 50) || '_native');
  ELSIF rule.kind <> 'foreign key' AND NOT rule.guarded THEN
    -- Before any repair, or more may go. What happens to partitions is guarded by event triggers.
    SELECT e.evtname INTO disabled FROM pg_catalog.pg_event_trigger AS e
     WHERE e.evtfoid IN ('integrity.complete_rule()'::regprocedure, 'integrity.keep_keys()'::regprocedure)
       AND e.evtenabled NOT IN ('O', 'A')
     ORDER BY 1 LIMIT 1;
    IF FOUND THEN
      RETURN pg_catalog.format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', disabled.evtname);
    ELSIF pg_catalog.current_setting('event_triggers', true) = 'off' THEN
      RETURN 'SET event_triggers = on;';
    END IF;
    RETURN pg_catalog.format('SELECT integrity.add_guards(%L);',
      CASE WHEN (SELECT integrity.updates_are_checked(t.oid) FROM pg_catalog.pg_trigger AS t
                  WHERE t.tgrelid = rule.referencing_table AND t.tgname = rule.rule_name)
           THEN rule.referenced_table ELSE rule.referencing_table END);
  ELSIF references_broken > 0 THEN
    RETURN integrity.repair_advice(rule);
  ELSIF rule.kind <> 'foreign key' AND NOT rule.enforced THEN
    RETURN pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER %I;', rule.referencing_table, rule.rule_name);
  ELSIF NOT (rule.guarded AND rule.enforced) THEN
    -- A foreign key is enforced by triggers on both of its tables, and on
    -- their partitions. One table at a time, the referenced one first.
    WITH RECURSIVE clone (oid) AS (
      SELECT c.oid FROM pg_catalog.pg_constraint AS c
       WHERE c.conrelid = rule.referencing_table AND c.conname = rule.rule_name AND c.contype = 'f'
      UNION ALL
      SELECT c.oid FROM clone JOIN pg_catalog.pg_constraint AS c ON c.conparentid = clone.oid
    )
    SELECT t.tgrelid::regclass AS relid,
           pg_catalog.string_agg(pg_catalog.format('ENABLE TRIGGER %I', t.tgname), ', ' ORDER BY t.oid) AS actions
      INTO disabled
      FROM clone JOIN pg_catalog.pg_trigger AS t ON t.tgconstraint = clone.oid
     WHERE t.tgenabled NOT IN ('O', 'A')
     GROUP BY t.tgrelid
     ORDER BY t.tgrelid = rule.referenced_table DESC, t.tgrelid = rule.referencing_table DESC, t.tgrelid
     LIMIT 1;
    IF FOUND THEN
      RETURN pg_catalog.format('ALTER TABLE %s %s;', disabled.relid, disabled.actions);
    END IF;
    -- declared NOT ENFORCED, as PostgreSQL 18 and later allow
    RETURN pg_catalog.format('ALTER TABLE %s ALTER CONSTRAINT %I ENFORCED;', rule.referencing_table, rule.rule_name);
  ELSIF NOT rule.validated THEN
    RETURN pg_catalog.format('SELECT integrity.validate_reference(%L, %L);', rule.referencing_table, rule.rule_name);
  END IF;
  RETURN integrity.index_advice(rule);
END
$$;

-- Rows without a key, where a round that puts none back is the last.
CREATE OR REPLACE FUNCTION integrity.undo_rows(
  undo_id bigint, items integrity.net_change[], command text, look text, has_key boolean, search_path text,
  INOUT unchecked integrity.unchecked_row[], INOUT left_alone integrity.left_alone[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  most_rounds CONSTANT integer := 10;
  rest integrity.net_change[] := items;
  result record;
  one integrity.net_change;
  failed integrity.net_change[];
  errors integrity.left_alone[];
  progress boolean;
BEGIN
  LOOP
    result := integrity.write_rows(undo_id, rest, command, search_path, unchecked);
    unchecked := result.unchecked;
    progress := pg_catalog.cardinality(result.rest) < pg_catalog.cardinality(rest);
    rest := result.rest;
    -- Where rows have no key, one may have become what another was.
    EXIT WHEN has_key OR progress IS NOT TRUE OR pg_catalog.cardinality(rest) = 0;
  END LOOP;

  -- A row is in the way of the others: one by one then. A round may make room for
  -- what failed in it before.
  IF result.error IS NOT NULL THEN
    failed := rest;
    rest := '{}';
    FOR round IN 1 .. most_rounds LOOP
      progress := false;
      errors := '{}';
      FOREACH one IN ARRAY failed LOOP
        result := integrity.write_rows(undo_id, ARRAY[one], command, search_path, unchecked);
        unchecked := result.unchecked;
        IF result.error IS NOT NULL THEN
          errors := errors || (one.n, one.changed_table, one.row_key, result.error)::integrity.left_alone;
        ELSE
          progress := true;
          rest := rest || result.rest;
        END IF;
      END LOOP;
      EXIT WHEN NOT progress OR pg_catalog.cardinality(errors) = 0;
      failed := ARRAY(SELECT u FROM pg_catalog.unnest(failed) AS u
                       WHERE EXISTS (SELECT FROM pg_catalog.unnest(errors) AS e WHERE e.n = u.n));
    END LOOP;
    left_alone := left_alone || errors;
  END IF;

  IF pg_catalog.cardinality(rest) > 0 THEN
    left_alone := left_alone || ARRAY(SELECT w FROM integrity.why_left_alone(rest, look, has_key, search_path) AS w);
  END IF;
END
$$;

-- A GIN index finds all rows, whatever the session has set.
ALTER FUNCTION integrity.referring_rows(integrity.reference, oid[], tid[]) SET gin_fuzzy_search_limit = 0;

-- Partitions and inheritance children may have rules of their own.
CREATE OR REPLACE FUNCTION integrity.alter_table_around_rules(table_name regclass, action text, path text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  each record;
  statement text;
  definitions text[] := '{}';
  states text[] := '{}';   -- what a new trigger does not have: state and comment
  guarded_tables oid[] := '{}';
  family oid[];            -- the table, its partitions and inheritance children
BEGIN
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', table_name);
  WITH RECURSIVE below (relid) AS (
    SELECT table_name::oid
     UNION
    SELECT i.inhrelid FROM below AS b JOIN pg_inherits AS i ON i.inhparent = b.relid
  )
  SELECT array_agg(b.relid) INTO family FROM below AS b;

  FOR each IN
    SELECT t.oid, t.tgrelid::regclass AS relid, t.tgname, t.tgenabled, t.proname, t.is_rule, obj_description(t.oid, 'pg_trigger') AS comment,
           COALESCE((SELECT r.enforced FROM integrity.reference AS r
                      WHERE t.is_rule AND r.referencing_table = t.tgrelid AND r.rule_name = t.tgname
                        AND r.kind <> 'foreign key'), true) AS is_enforced,
           -- each argument ends in a zero byte
           encode('\x00'::bytea || t.tgargs, 'escape') LIKE '%\\000not valid\\000%' AS is_not_valid
      FROM (SELECT g.*, p.proname, g.tgfoid = 'integrity.check_reference()'::regprocedure AS is_rule
              FROM pg_trigger AS g
              JOIN pg_proc AS p ON p.oid = g.tgfoid
             WHERE g.tgparentid = 0 AND p.pronamespace = 'integrity'::regnamespace
               AND (p.proname IN ('check_reference', 'check_update') OR p.proname LIKE 'guard\_%')) AS t
     WHERE t.tgrelid = table_name
        -- Tables below it are altered as well, and may have rules and guards of their own. Their TRUNCATE guards name no column.
        OR (t.tgrelid = ANY (family) AND t.proname <> 'guard_truncate')
        OR ((t.is_rule OR t.proname = 'check_update') AND EXISTS (SELECT FROM pg_depend AS d
                                   WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
                                     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (family)))
     -- Update triggers first: they would go with their rules, and what declares a rule makes one if there is none.
     ORDER BY t.proname = 'check_update' DESC, t.oid
  LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', each.relid);
    -- The copies on partitions have the same name, and each its own state.
    states := states || ARRAY(
      SELECT format('ALTER TABLE %s %s TRIGGER %I', m.relid,
                    CASE c.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                                     ELSE 'ENABLE' END, c.tgname)
        FROM (SELECT each.relid, 0 AS level
              UNION ALL SELECT p.relid, p.level FROM pg_partition_tree(each.relid) AS p WHERE p.level > 0) AS m
        JOIN pg_trigger AS c ON c.tgrelid = m.relid AND c.tgname = each.tgname
       WHERE each.tgenabled <> 'O' OR c.tgenabled <> 'O'
       ORDER BY m.level, m.relid);
    IF each.comment IS NOT NULL THEN
      states := states || format('COMMENT ON TRIGGER %I ON %s IS %L', each.tgname, each.relid, each.comment);
    END IF;
    IF each.is_rule THEN
      statement := pg_get_triggerdef(each.oid);
      -- What is not enforced everywhere was not checked everywhere, and may be broken.
      IF NOT each.is_enforced AND NOT each.is_not_valid THEN
        statement := regexp_replace(statement, '\)$', CASE WHEN statement ~ '\(\)$' THEN '''not valid'')' ELSE ', ''not valid'')' END);
      END IF;
      definitions := definitions || statement;
    ELSIF each.proname = 'check_update' THEN
      definitions := definitions || pg_get_triggerdef(each.oid);
    ELSE
      guarded_tables := guarded_tables || each.relid::oid;
    END IF;
    EXECUTE format('DROP TRIGGER %I ON %s', each.tgname, each.relid);
  END LOOP;

  PERFORM set_config('search_path', path, true);
  EXECUTE format('ALTER TABLE %s %s', table_name, action);
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);

  FOREACH statement IN ARRAY definitions LOOP
    EXECUTE statement;
  END LOOP;
  -- In the order in which they were made, so that they get their old names.
  PERFORM integrity.add_guards(g.relid)
     FROM (SELECT u.relid FROM unnest(guarded_tables) WITH ORDINALITY AS u (relid, place)
            GROUP BY u.relid ORDER BY min(u.place)) AS g;
  FOREACH statement IN ARRAY states LOOP
    EXECUTE statement;
  END LOOP;
END
$$;
