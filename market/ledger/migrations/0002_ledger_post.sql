-- The ledger's writers and the triggers that refuse every other write.
--
-- How far the guards reach. UPDATE, DELETE and TRUNCATE of transfers are refused to everyone, whatever he sets.
-- INSERT of transfers and any write of balances and marks are refused unless the setting ledger.writer is on, which
-- only the functions below put on, for as long as they run. That stops the ORM, the shell and mistakes. It does not
-- stop the owner of the tables who means it: he may drop a trigger. Where that matters, let one role own the tables
-- and run the migrations, and give the role of the processes SELECT on the tables and EXECUTE on ledger_post,
-- ledger_settled_seq and ledger_mark only (PUBLIC has EXECUTE by default: revoke it). They run with their owner's rights
-- (SECURITY DEFINER), so nothing else changes; a test does it. ledger_audit finds what was done past them.

-- No CACHE: a session that keeps numbers back could use one below a mark that is already taken.
CREATE SEQUENCE ledger_transfer_order AS bigint OWNED BY ledger_transfer.seq;

-- Room in each page for new versions of its rows: a balance then moves without touching the three indexes.
ALTER TABLE ledger_account SET (fillfactor = 50);

-- Post a batch of transfers in arrival order; the answer has one word an item, in the same order:
--   POSTED             recorded, and the guarded balances moved
--   EXISTS             this id was recorded before with the same content (also earlier in this batch)
--   CONFLICT           this id was recorded before with other content; nothing moved
--   OVERDRAWN          a guarded source had too little at this item's turn; nothing moved
--   CURRENCY_MISMATCH  the item and its two accounts are not of one currency; nothing moved
--   MODE_MISMATCH      test money can't move to a live account or back; nothing moved
-- A refused item does not refuse its neighbours, unless p_is_all_or_nothing: then nothing is written and the items
-- that could have been posted read WITHHELD.
-- Written for READ COMMITTED: every statement sees what was committed before it began.
CREATE FUNCTION ledger_post(
    p_ids uuid[], p_sources text[], p_destinations text[], p_amounts bigint[], p_currencies text[],
    p_reasons text[], p_subjects text[], p_is_all_or_nothing boolean
) RETURNS text[]
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET ledger.writer = 'on'
-- A generic plan guesses the length of long arrays wrongly and is 5 to 13 times slower.
SET plan_cache_mode = force_custom_plan
-- Every look-up is by key. Statistics say otherwise while the tables are small, or just after a burst.
SET enable_seqscan = off
AS $$
DECLARE
    v_count integer := cardinality(p_ids);
    v_sources bigint[];
    v_destinations bigint[];
    v_is_account_missing boolean;
    v_is_matched boolean;
    v_guarded bigint[];
    v_balances bigint[];
    v_is_plain boolean;
    v_outcomes text[];
    v_outcome text;
    v_posted_content integer[];
    v_posted_count integer;
    v_written uuid[];
    v_is_short boolean;
    item record;
BEGIN
    IF v_count = 0 THEN
        RETURN '{}';
    END IF;
    IF NOT v_count = ALL (ARRAY[cardinality(p_sources), cardinality(p_destinations), cardinality(p_amounts),
                                cardinality(p_currencies), cardinality(p_reasons), cardinality(p_subjects)]) THEN
        RAISE EXCEPTION 'ledger_post takes arrays of one length' USING ERRCODE = 'array_subscript_error';
    END IF;

    IF v_count <= 10 THEN
        -- Planning would take longer than the work, and about ten is what a generic plan guesses.
        PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
    END IF;

    -- 1. Find the accounts, and open those that are missing.
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(s.id ORDER BY i.place), array_agg(d.id ORDER BY i.place),
               bool_or(s.id IS NULL OR d.id IS NULL),
               bool_and(s.currency = i.currency AND d.currency = i.currency
                        AND split_part(i.source, ':', 1) = split_part(i.destination, ':', 1))
        INTO v_sources, v_destinations, v_is_account_missing, v_is_matched
        FROM unnest(p_sources, p_destinations, p_currencies) WITH ORDINALITY AS i (source, destination, currency, place)
        LEFT JOIN ledger_account s ON s.path = i.source
        LEFT JOIN ledger_account d ON d.path = i.destination;
        EXIT WHEN NOT v_is_account_missing;
        -- Ordered, so that two batches that open the same accounts can't deadlock.
        INSERT INTO ledger_account (path, currency, is_guarded, balance_minor)
        SELECT wanted.path, split_part(wanted.path, ':', -1), wanted.is_guarded, CASE WHEN wanted.is_guarded THEN 0 END
        FROM (
            SELECT DISTINCT path, split_part(path, ':', 2) NOT IN ('clearing', 'platform') AS is_guarded
            FROM unnest(p_sources || p_destinations) AS path
        ) wanted
        WHERE NOT EXISTS (SELECT FROM ledger_account known WHERE known.path = wanted.path)
        ORDER BY wanted.path
        ON CONFLICT (path) DO NOTHING;
    END LOOP;

    -- 2. Lock the guarded accounts in id order. Whoever posts the same id with the same guarded account waits here, so
    --    the next statement sees what he recorded. Shared accounts are never locked and never updated.
    SELECT array_agg(locked.id), array_agg(locked.balance_minor)
    INTO v_guarded, v_balances
    FROM (
        SELECT id, balance_minor FROM ledger_account
        WHERE id = ANY (v_sources || v_destinations) AND is_guarded
        ORDER BY id
        FOR NO KEY UPDATE
    ) locked;

    -- 3. Decide. Plain: new ids, each once, and every guarded source could pay all its items before it gets anything.
    SELECT v_is_matched
       AND (SELECT count(DISTINCT id) FROM unnest(p_ids) AS id) = v_count
       AND NOT EXISTS (SELECT FROM ledger_transfer WHERE id = ANY (p_ids))
       AND NOT EXISTS (
            SELECT FROM (
                SELECT account_id, sum(amount) AS total
                FROM unnest(v_sources, p_amounts) AS i (account_id, amount) GROUP BY account_id
            ) spent
            JOIN unnest(v_guarded, v_balances) AS g (account_id, balance) USING (account_id)
            WHERE spent.total > g.balance
       )
    INTO v_is_plain;

    IF v_is_plain THEN
        v_outcomes := array_fill('POSTED'::text, ARRAY[v_count]);
        v_posted_count := v_count;
    ELSE
        -- Item by item, in arrival order, on the locked balances in memory.
        v_outcomes := array_fill(NULL::text, ARRAY[v_count]);
        v_posted_content := array_fill(NULL::integer, ARRAY[v_count]);
        v_posted_count := 0;
        FOR item IN
            SELECT i.place, i.amount, gs.place AS source_place, gd.place AS destination_place,
                   CASE WHEN t.id IS NULL THEN NULL
                        WHEN (t.source_id, t.destination_id, t.amount_minor, split_part(i.source, ':', -1), t.reason, t.subject)
                           = (i.source_id, i.destination_id, i.amount, i.currency, i.reason, i.subject) THEN 'EXISTS'
                        ELSE 'CONFLICT' END AS recorded,
                   CASE WHEN split_part(i.source, ':', -1) <> i.currency
                          OR split_part(i.destination, ':', -1) <> i.currency THEN 'CURRENCY_MISMATCH'
                        WHEN split_part(i.source, ':', 1) <> split_part(i.destination, ':', 1) THEN 'MODE_MISMATCH' END AS mismatch,
                   min(i.place) OVER (PARTITION BY i.id) AS first_place,
                   dense_rank() OVER (PARTITION BY i.id
                                      ORDER BY i.source_id, i.destination_id, i.amount, i.currency, i.reason, i.subject) AS content
            FROM unnest(p_ids, v_sources, v_destinations, p_amounts, p_reasons, p_subjects, p_sources, p_destinations, p_currencies)
                 WITH ORDINALITY AS i (id, source_id, destination_id, amount, reason, subject, source, destination, currency, place)
            LEFT JOIN ledger_transfer t ON t.id = i.id
            LEFT JOIN unnest(v_guarded) WITH ORDINALITY AS gs (account_id, place) ON gs.account_id = i.source_id
            LEFT JOIN unnest(v_guarded) WITH ORDINALITY AS gd (account_id, place) ON gd.account_id = i.destination_id
            ORDER BY i.place
        LOOP
            IF item.recorded IS NOT NULL THEN
                v_outcome := item.recorded;
            ELSIF v_posted_content[item.first_place] IS NOT NULL THEN
                v_outcome := CASE WHEN v_posted_content[item.first_place] = item.content THEN 'EXISTS' ELSE 'CONFLICT' END;
            ELSIF item.mismatch IS NOT NULL THEN
                v_outcome := item.mismatch;
            ELSIF item.source_place IS NOT NULL AND v_balances[item.source_place] < item.amount THEN
                v_outcome := 'OVERDRAWN';
            ELSE
                v_outcome := 'POSTED';
                v_posted_count := v_posted_count + 1;
                v_posted_content[item.first_place] := item.content;
                IF item.source_place IS NOT NULL THEN
                    v_balances[item.source_place] := v_balances[item.source_place] - item.amount;
                END IF;
                IF item.destination_place IS NOT NULL THEN
                    v_balances[item.destination_place] := v_balances[item.destination_place] + item.amount;
                END IF;
            END IF;
            v_outcomes[item.place] := v_outcome;
        END LOOP;
        IF p_is_all_or_nothing AND NOT v_outcomes <@ ARRAY['POSTED', 'EXISTS'] THEN
            RETURN array_replace(v_outcomes, 'POSTED', 'WITHHELD');
        END IF;
        IF v_posted_count = 0 THEN
            RETURN v_outcomes;
        END IF;
    END IF;

    -- 4. Write. The balances move by exactly the rows that this statement records. Numbered in arrival order, inserted
    --    in id order, so that two batches with the same ids can't deadlock.
    WITH written AS (
        INSERT INTO ledger_transfer (id, seq, source_id, destination_id, amount_minor, reason, subject)
        SELECT id, seq, source_id, destination_id, amount, reason, subject
        FROM (
            SELECT i.*, nextval('ledger_transfer_order') AS seq
            FROM unnest(p_ids, v_sources, v_destinations, p_amounts, p_reasons, p_subjects, v_outcomes)
                 WITH ORDINALITY AS i (id, source_id, destination_id, amount, reason, subject, outcome, place)
            WHERE i.outcome = 'POSTED'
            ORDER BY i.place
        ) numbered
        ORDER BY id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, source_id, destination_id, amount_minor
    ), legs AS (
        SELECT account_id, sum(delta)::bigint AS delta
        FROM (
            SELECT source_id AS account_id, -amount_minor AS delta FROM written
            UNION ALL
            SELECT destination_id, amount_minor FROM written
        ) leg
        WHERE account_id = ANY (v_guarded)
        GROUP BY account_id
    ), moved AS (
        UPDATE ledger_account
        SET balance_minor = balance_minor + legs.delta
        FROM legs
        WHERE ledger_account.id = legs.account_id AND balance_minor + legs.delta >= 0
        RETURNING ledger_account.id
    )
    SELECT (SELECT array_agg(id) FROM written), (SELECT count(*) FROM moved) < (SELECT count(*) FROM legs)
    INTO v_written, v_is_short;

    -- 5. Somebody recorded one of our ids between steps 3 and 4: only possible where no guarded account made us wait,
    --    so he moved between shared accounts or has other content under the same id.
    IF coalesce(cardinality(v_written), 0) < v_posted_count THEN
        SELECT array_agg(
            CASE WHEN i.id = ANY (v_written) OR i.outcome NOT IN ('POSTED', 'EXISTS', 'CONFLICT') THEN i.outcome
                 WHEN (t.source_id, t.destination_id, t.amount_minor, split_part(i.source, ':', -1), t.reason, t.subject)
                    = (i.source_id, i.destination_id, i.amount, i.currency, i.reason, i.subject) THEN 'EXISTS'
                 ELSE 'CONFLICT' END
            ORDER BY i.place)
        INTO v_outcomes
        FROM unnest(p_ids, v_sources, v_destinations, p_sources, p_amounts, p_currencies, p_reasons, p_subjects, v_outcomes)
             WITH ORDINALITY AS i (id, source_id, destination_id, source, amount, currency, reason, subject, outcome, place)
        LEFT JOIN ledger_transfer t ON t.id = i.id;
        -- Items were refused for what a transfer that is not ours would have moved: decide the batch again.
        IF v_is_short OR 'OVERDRAWN' = ANY (v_outcomes) OR (p_is_all_or_nothing AND 'CONFLICT' = ANY (v_outcomes)) THEN
            RAISE EXCEPTION 'another transaction recorded an id of this batch; post it again' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    RETURN v_outcomes;
END
$$;

-- Return a number below which no transfer can appear any more. Transfers are numbered before they are committed, so
-- the lock first waits for everybody who is posting; it ends with the caller's transaction, which should be this
-- statement alone. Gives up after a second: a mark is an optimisation and can be taken later.
CREATE FUNCTION ledger_settled_seq() RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '1s'
AS $$
BEGIN
    LOCK TABLE ledger_transfer IN SHARE MODE;
    RETURN (SELECT coalesce(max(seq), 0) FROM ledger_transfer);
END
$$;

-- Mark the balance of every shared account that moved since its last mark, up to a settled number; return how many.
CREATE FUNCTION ledger_mark(p_upto_seq bigint) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET ledger.writer = 'on'
AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO ledger_balancemark (account_id, upto_seq, balance_minor)
    SELECT account.id, p_upto_seq, coalesce(mark.balance_minor, 0) + coalesce(received.total, 0) - coalesce(spent.total, 0)
    FROM ledger_account account
    LEFT JOIN LATERAL (
        SELECT upto_seq, balance_minor FROM ledger_balancemark
        WHERE account_id = account.id ORDER BY upto_seq DESC LIMIT 1
    ) mark ON true
    CROSS JOIN LATERAL (
        SELECT sum(amount_minor) AS total FROM ledger_transfer
        WHERE destination_id = account.id AND seq > coalesce(mark.upto_seq, 0) AND seq <= p_upto_seq
    ) received
    CROSS JOIN LATERAL (
        SELECT sum(amount_minor) AS total FROM ledger_transfer
        WHERE source_id = account.id AND seq > coalesce(mark.upto_seq, 0) AND seq <= p_upto_seq
    ) spent
    WHERE NOT account.is_guarded AND (received.total IS NOT NULL OR spent.total IS NOT NULL)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Django empties a test database (its name always begins with test_) by TRUNCATE after a test that commits.
    -- There, ledger.is_strict gives the rule back to the test that looks at it. No other database is ever excused.
    IF TG_OP = 'TRUNCATE' AND current_database() LIKE 'test\_%'
       AND current_setting('ledger.is_strict', true) IS DISTINCT FROM 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of % is refused: the ledger only grows; mend a mistake with a new transfer that says why', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION ledger_refuse_stranger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('ledger.writer', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% of % is refused: only ledger_post and ledger_mark write the ledger', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;

-- Once a statement, not once a row: a batch pays for one call.
CREATE TRIGGER transfer_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transfer
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER transfer_has_one_writer BEFORE INSERT ON ledger_transfer
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_stranger();
CREATE TRIGGER account_stays BEFORE DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER account_has_one_writer BEFORE INSERT OR UPDATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_stranger();
CREATE TRIGGER mark_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_balancemark
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER mark_has_one_writer BEFORE INSERT ON ledger_balancemark
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_stranger();
