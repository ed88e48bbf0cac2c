-- The ledger's writers and the triggers that refuse every other write.
--
-- How far the guards reach. UPDATE, DELETE and TRUNCATE of transfers are refused to everyone, whatever he sets.
-- INSERT of transfers and any write of balances and marks are refused unless the setting ledger.writer is on, which
-- only the functions below put on, for as long as they run. That stops the ORM, the shell and mistakes. It does not
-- stop the owner of the tables who means it: he may drop a trigger. Where that matters, let one role own the tables
-- and run the migrations, and give the role of the processes SELECT on the tables and EXECUTE on ledger_post,
-- ledger_shared_balances, ledger_settled_seq and ledger_mark only (PUBLIC has EXECUTE by default: revoke it). Those that
-- write run with their owner's rights (SECURITY DEFINER), so nothing else changes; a test does it. ledger_audit finds what was done past them.

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
-- p_paths names each account once; p_sources and p_destinations hold places in it, from 1.
-- Written for READ COMMITTED: every statement sees what was committed before it began.
CREATE FUNCTION ledger_post(
    p_paths text[], p_ids uuid[], p_sources integer[], p_destinations integer[], p_amounts bigint[], p_currencies text[],
    p_reasons text[], p_subjects text[], p_is_all_or_nothing boolean
) RETURNS text[]
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET ledger.writer = 'on'
-- Planning for the values would take as long as the work. One plan serves every length of the arrays, because all
-- below looks up by key or by place and never joins two arrays; statistics of small tables say otherwise.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_count integer := cardinality(p_ids);
    -- By place, like p_paths. A shared account's balance is NULL.
    v_accounts bigint[];
    v_modes text[];
    v_currencies text[];
    v_balances bigint[];
    v_is_account_missing boolean;
    v_is_account_twice boolean;
    v_is_plain boolean;
    -- By item, like p_ids.
    v_outcomes text[];
    v_outcome text;
    v_decided text[];
    v_posted_content integer[];
    v_posted_count integer;
    v_written uuid[];
    locked record;
    item record;
BEGIN
    IF v_count = 0 THEN
        RETURN '{}';
    END IF;
    IF NOT v_count = ALL (ARRAY[cardinality(p_sources), cardinality(p_destinations), cardinality(p_amounts),
                                cardinality(p_currencies), cardinality(p_reasons), cardinality(p_subjects)]) THEN
        RAISE EXCEPTION 'ledger_post takes arrays of one length' USING ERRCODE = 'array_subscript_error';
    END IF;

    -- 1. Find the accounts, and open those that are missing.
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(account.id ORDER BY named.place), array_agg(account.currency ORDER BY named.place),
               array_agg(split_part(named.path, ':', 1) ORDER BY named.place), bool_or(account.id IS NULL),
               count(DISTINCT account.id) < count(account.id)
        INTO v_accounts, v_currencies, v_modes, v_is_account_missing, v_is_account_twice
        FROM unnest(p_paths) WITH ORDINALITY AS named (path, place)
        LEFT JOIN ledger_account account ON account.path = named.path;
        EXIT WHEN NOT v_is_account_missing;
        -- Ordered, so that two batches that open the same accounts can't deadlock.
        INSERT INTO ledger_account (path, currency, is_guarded, balance_minor)
        SELECT wanted.path, split_part(wanted.path, ':', -1), wanted.is_guarded, CASE WHEN wanted.is_guarded THEN 0 END
        FROM (
            SELECT named.path, split_part(named.path, ':', 2) NOT IN ('clearing', 'platform') AS is_guarded
            FROM unnest(p_paths, v_accounts) AS named (path, account_id) WHERE named.account_id IS NULL
        ) wanted
        ORDER BY wanted.path
        ON CONFLICT (path) DO NOTHING;
    END LOOP;
    IF v_is_account_twice THEN
        -- A balance that is kept in two places would be moved by one of them alone.
        RAISE EXCEPTION 'ledger_post takes each account once' USING ERRCODE = 'cardinality_violation';
    END IF;

    -- 2. Lock the guarded accounts in id order. Whoever posts the same id with the same guarded account waits here, so
    --    the next statement sees what he recorded. Shared accounts are never locked and never updated.
    v_balances := array_fill(NULL::bigint, ARRAY[cardinality(p_paths)]);
    FOR locked IN
        SELECT named.place, account.balance_minor
        FROM unnest(v_accounts) WITH ORDINALITY AS named (account_id, place)
        JOIN ledger_account account ON account.id = named.account_id
        WHERE account.is_guarded
        ORDER BY account.id
        FOR NO KEY UPDATE OF account
    LOOP
        v_balances[locked.place] := locked.balance_minor;
    END LOOP;

    -- 3. Decide. Plain: each id once, and every guarded source could pay all its items before it gets anything. Then
    --    items that were recorded before change nothing for the others, and the table's own key tells them.
    SELECT (SELECT bool_and(v_currencies[i.source] = i.currency AND v_currencies[i.destination] = i.currency
                            AND v_modes[i.source] = v_modes[i.destination])
            FROM unnest(p_sources, p_destinations, p_currencies) AS i (source, destination, currency))
       AND (SELECT count(DISTINCT id) FROM unnest(p_ids) AS id) = v_count
       AND NOT EXISTS (
            SELECT FROM unnest(p_sources, p_amounts) AS i (source, amount)
            GROUP BY i.source HAVING sum(i.amount) > v_balances[i.source]
       )
       AND NOT (p_is_all_or_nothing AND EXISTS (SELECT FROM ledger_transfer WHERE id = ANY (p_ids)))
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
            SELECT i.place, i.amount, i.source, i.destination,
                   CASE WHEN t.id IS NULL THEN NULL
                        WHEN (t.source_id, t.destination_id, t.amount_minor, v_currencies[i.source], t.reason, t.subject)
                           = (v_accounts[i.source], v_accounts[i.destination], i.amount, i.currency, i.reason, i.subject) THEN 'EXISTS'
                        ELSE 'CONFLICT' END AS recorded,
                   CASE WHEN v_currencies[i.source] <> i.currency
                          OR v_currencies[i.destination] <> i.currency THEN 'CURRENCY_MISMATCH'
                        WHEN v_modes[i.source] <> v_modes[i.destination] THEN 'MODE_MISMATCH' END AS mismatch,
                   min(i.place) OVER (PARTITION BY i.id) AS first_place,
                   dense_rank() OVER (PARTITION BY i.id
                                      ORDER BY i.source, i.destination, i.amount, i.currency, i.reason, i.subject) AS content
            FROM unnest(p_ids, p_sources, p_destinations, p_amounts, p_currencies, p_reasons, p_subjects)
                 WITH ORDINALITY AS i (id, source, destination, amount, currency, reason, subject, place)
            LEFT JOIN ledger_transfer t ON t.id = i.id
            ORDER BY i.place
        LOOP
            IF item.recorded IS NOT NULL THEN
                v_outcome := item.recorded;
            ELSIF v_posted_content[item.first_place] IS NOT NULL THEN
                v_outcome := CASE WHEN v_posted_content[item.first_place] = item.content THEN 'EXISTS' ELSE 'CONFLICT' END;
            ELSIF item.mismatch IS NOT NULL THEN
                v_outcome := item.mismatch;
            ELSIF v_balances[item.source] < item.amount THEN
                v_outcome := 'OVERDRAWN';
            ELSE
                v_outcome := 'POSTED';
                v_posted_count := v_posted_count + 1;
                v_posted_content[item.first_place] := item.content;
                v_balances[item.source] := v_balances[item.source] - item.amount;
                v_balances[item.destination] := v_balances[item.destination] + item.amount;
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

    -- 4. Record. Numbered in arrival order, inserted in id order, so that two batches with the same ids can't deadlock.
    WITH written AS (
        INSERT INTO ledger_transfer (id, seq, source_id, destination_id, amount_minor, reason, subject)
        SELECT id, seq, v_accounts[source], v_accounts[destination], amount, reason, subject
        FROM (
            SELECT i.*, nextval('ledger_transfer_order') AS seq
            FROM unnest(p_ids, p_sources, p_destinations, p_amounts, p_reasons, p_subjects, v_outcomes)
                 WITH ORDINALITY AS i (id, source, destination, amount, reason, subject, outcome, place)
            WHERE i.outcome = 'POSTED'
            ORDER BY i.place
        ) numbered
        ORDER BY id
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_written FROM written;

    -- 5. Some ids were recorded before: in a plain batch whenever, otherwise by somebody between steps 3 and 4.
    IF cardinality(v_written) < v_posted_count THEN
        v_decided := v_outcomes;
        SELECT array_agg(
            CASE WHEN i.outcome NOT IN ('POSTED', 'EXISTS', 'CONFLICT') OR i.id = ANY (v_written) THEN i.outcome
                 WHEN (t.source_id, t.destination_id, t.amount_minor, v_currencies[i.source], t.reason, t.subject)
                    = (v_accounts[i.source], v_accounts[i.destination], i.amount, i.currency, i.reason, i.subject) THEN 'EXISTS'
                 ELSE 'CONFLICT' END
            ORDER BY i.place)
        INTO v_outcomes
        FROM unnest(p_ids, p_sources, p_destinations, p_amounts, p_currencies, p_reasons, p_subjects, v_outcomes)
             WITH ORDINALITY AS i (id, source, destination, amount, currency, reason, subject, outcome, place)
        LEFT JOIN ledger_transfer t ON t.id = i.id;
        -- Its neighbours were decided on balances that it would have moved, or may not stand without it: decide again.
        IF (p_is_all_or_nothing AND 'CONFLICT' = ANY (v_outcomes)) OR (NOT v_is_plain AND EXISTS (
                SELECT FROM unnest(p_sources, p_destinations, v_decided, v_outcomes) AS i (source, destination, decided, outcome)
                WHERE i.decided = 'POSTED' AND i.outcome <> 'POSTED'
                  AND (v_balances[i.source] IS NOT NULL OR v_balances[i.destination] IS NOT NULL))) THEN
            RAISE EXCEPTION 'another transaction recorded an id of this batch; post it again' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    -- 6. Move the balances by exactly what was recorded.
    UPDATE ledger_account account
    SET balance_minor = account.balance_minor + leg.delta
    FROM (
        SELECT place, sum(delta)::bigint AS delta
        FROM (
            SELECT i.source AS place, -i.amount AS delta
            FROM unnest(p_sources, p_amounts, v_outcomes) AS i (source, amount, outcome) WHERE i.outcome = 'POSTED'
            UNION ALL
            SELECT i.destination, i.amount
            FROM unnest(p_destinations, p_amounts, v_outcomes) AS i (destination, amount, outcome) WHERE i.outcome = 'POSTED'
        ) moved
        WHERE v_balances[place] IS NOT NULL
        GROUP BY place
    ) leg
    WHERE account.id = v_accounts[leg.place];
    RETURN v_outcomes;
END
$$;

-- Return the balances of shared accounts: the last mark and what came after, as of the caller's statement. By key alone:
-- the planner can't know that little comes after a mark and would read all transfers that ever were.
CREATE FUNCTION ledger_shared_balances(p_accounts bigint[]) RETURNS TABLE (account_id bigint, balance_minor numeric)
LANGUAGE sql STABLE
SET search_path = public, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
    SELECT account.id,
           coalesce(mark.balance_minor, 0)
           + coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                       WHERE destination_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0)
           - coalesce((SELECT sum(amount_minor) FROM ledger_transfer
                       WHERE source_id = account.id AND seq > coalesce(mark.upto_seq, 0)), 0)
    FROM unnest(p_accounts) AS account (id)
    LEFT JOIN LATERAL (
        SELECT upto_seq, balance_minor FROM ledger_balancemark
        WHERE account_id = account.id ORDER BY upto_seq DESC LIMIT 1
    ) mark ON true
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
-- As above: only what came after the last mark is read.
SET enable_seqscan = off
SET enable_bitmapscan = off
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
