-- What the workloads share: the rivals' triggers, and what tells that all rivals came to the same. This is the
-- template of each workload's database.
--
-- Names say whose a table is: rule_arrays is the array with a rule, junction_pairs the junction table, raw_arrays the array
-- without any check, row_trigger_arrays and statement_trigger_arrays those with the triggers below. "keys" is the
-- referenced table; where keys are deleted each rival has its own, rule_keys and so on.

CREATE EXTENSION integrity;
CREATE EXTENSION pg_prewarm;

-- ---------------------------------------------------------------- checks of new references

-- Row trigger: correct. One statement for each row locks all its keys at once and counts them.
CREATE FUNCTION check_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM (SELECT FROM keys WHERE id = ANY (NEW.ids) FOR KEY SHARE) AS found)
     <> (SELECT count(DISTINCT e.id) FROM unnest(NEW.ids) AS e (id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a key is missing';
  END IF;
  RETURN NULL;
END
$$;

-- Statement trigger: common and fast, and not correct. It locks nothing, so a key that is deleted meanwhile is not noticed.
CREATE FUNCTION check_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM new_rows AS n, unnest(n.ids) AS e (id)
              WHERE e.id IS NOT NULL AND NOT EXISTS (SELECT FROM keys AS k WHERE k.id = e.id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a key is missing';
  END IF;
  RETURN NULL;
END
$$;

-- The same, as one writes it who has written the row trigger. It is several times as slow, and as wrong.
CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM keys WHERE id IN (SELECT unnest(ids) FROM new_rows))
     <> (SELECT count(DISTINCT e.id) FROM new_rows AS n, unnest(n.ids) AS e (id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a key is missing';
  END IF;
  RETURN NULL;
END
$$;

-- ---------------------------------------------------------------- deletes of keys

-- Row by row: for each deleted key all rows that hold it, by the GIN index.
CREATE FUNCTION remove_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE row_trigger_arrays SET ids = array_remove(ids, OLD.id) WHERE ids @> ARRAY[OLD.id];
  RETURN NULL;
END
$$;

-- One UPDATE for all deleted keys, found with &&.
CREATE FUNCTION remove_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  gone int[] := ARRAY(SELECT id FROM old_rows);
BEGIN
  UPDATE statement_trigger_arrays
     SET ids = ARRAY(SELECT e.id FROM unnest(ids) WITH ORDINALITY AS e (id, n)
                      WHERE e.id NOT IN (SELECT id FROM old_rows) ORDER BY e.n)
   WHERE ids && gone;
  RETURN NULL;
END
$$;

-- ---------------------------------------------------------------- outcomes

-- All references of a table of arrays, or of a junction table: how many there are, and a sum that does not depend on their order.
CREATE FUNCTION references_of(arrays regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  outcome text;
BEGIN
  EXECUTE format('SELECT concat(count(*), '' references, '', sum(hashint8extended(a.id::bigint << 32 | e, 0)::numeric))
                    FROM %s AS a, unnest(a.ids) AS e', arrays) INTO outcome;
  RETURN outcome;
END
$$;
CREATE FUNCTION pairs_of(junction regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  outcome text;
BEGIN
  EXECUTE format('SELECT concat(count(*), '' references, '', sum(hashint8extended(parent_id::bigint << 32 | key_id, 0)::numeric))
                    FROM %s', junction) INTO outcome;
  RETURN outcome;
END
$$;

-- ---------------------------------------------------------------- as it was before keys were deleted

-- The tables of one rival, filled again from "source" or "source_pairs" and "source_keys". Unchecked, for that is not what
-- is measured; and the index is made afterwards, so that it is as small as a new one. VACUUM is the caller's.
CREATE FUNCTION restore_arrays(rival text, gin boolean, fastupdate text DEFAULT 'on') RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$
BEGIN
  EXECUTE format('DROP INDEX IF EXISTS %I', rival || '_gin');
  EXECUTE format('TRUNCATE %I, %I', rival || '_arrays', rival || '_keys');
  EXECUTE format('INSERT INTO %I SELECT id FROM source_keys', rival || '_keys');
  EXECUTE format('INSERT INTO %I SELECT id, ids FROM source', rival || '_arrays');
  IF gin THEN
    EXECUTE format('CREATE INDEX %I ON %I USING gin (ids) WITH (fastupdate = %s)', rival || '_gin', rival || '_arrays', fastupdate);
  END IF;
END
$$;
CREATE FUNCTION restore_junction() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$
BEGIN
  ALTER TABLE junction_pairs DROP CONSTRAINT IF EXISTS junction_pairs_pkey;
  DROP INDEX IF EXISTS junction_pairs_key;
  TRUNCATE junction_pairs, junction_keys;
  INSERT INTO junction_keys SELECT id FROM source_keys;
  INSERT INTO junction_pairs SELECT id, key_id FROM source_pairs;
  ALTER TABLE junction_pairs ADD PRIMARY KEY (parent_id, key_id);
  CREATE INDEX junction_pairs_key ON junction_pairs (key_id);
END
$$;

-- Empty tables for these. Each rival has its own keys, because its own are deleted.
CREATE FUNCTION make_arrays(rival text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY)', rival || '_keys');
  EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, ids int[])', rival || '_arrays');
END
$$;
CREATE FUNCTION make_junction() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  CREATE TABLE junction_keys (id int PRIMARY KEY);
  CREATE TABLE junction_pairs (parent_id int, key_id int REFERENCES junction_keys ON DELETE CASCADE, PRIMARY KEY (parent_id, key_id));
  CREATE INDEX junction_pairs_key ON junction_pairs (key_id);
END
$$;
