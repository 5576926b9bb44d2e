-- A superstep, or the end of an event: the fence, the agent's state, the effects, the log, the applied mark and the
-- next attempt, all or nothing (I4).
--
-- Locks: sessions → heads and checkpoint rows → effects. The first statement is the fence (I5): the row lock it takes
-- orders this commit against every claim, and if any part of the claim has moved on it changes no row. A replica whose
-- row is gone has left or was booted again.
-- It also counts the next attempt if it sees a next event. It may miss one that is being accepted right now: that
-- accept, which saw this session busy, has marked the inbox and its caller hints the owner.
-- `p_effect_log`: 1, 2, 3 … for what clients see, null for the rest.
-- As version 1, and what was noted of the event's attempts and of its cancel goes from their rows into its first effect's.
CREATE FUNCTION unbroken_commit_v2(
    p_thread text, p_owner bigint, p_epoch bigint, p_run bigint, p_seq bigint,
    p_finishes boolean, p_reverts boolean, p_cancels boolean, p_open text[],
    p_head_ns text[], p_head_id text[],
    p_checkpoint_ns text[], p_checkpoint_id text[], p_parent_id text[], p_checkpoint jsonb[], p_metadata jsonb[],
    p_blob_ns text[], p_blob_channel text[], p_blob_version text[], p_blob_type text[], p_blob bytea[],
    p_write_ns text[], p_write_checkpoint text[], p_write_task text[], p_write_path text[], p_write_idx integer[],
    p_write_channel text[], p_write_type text[], p_write bytea[], p_write_replaces boolean[],
    p_logged integer, p_trace jsonb,
    p_effect_ordinal integer[], p_effect_id text[], p_effect_type text[], p_effect jsonb[], p_effect_dedupe text[],
    p_effect_log integer[], p_effect_done boolean[],
    OUT log_index bigint, OUT next_counted boolean,
    -- only if counted
    OUT seq bigint, OUT id text, OUT request_id text, OUT payload jsonb, OUT trace_context jsonb,
    OUT created_at timestamptz, OUT run bigint, OUT head text, OUT base text, OUT head_event bigint,
    OUT superseded boolean, OUT cancel text, OUT open_questions text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    marked text;
    cancelled_at timestamptz;
    former text;
    noted jsonb;
    first_run bigint;
BEGIN
    IF p_finishes THEN
        -- Unlocked: these change only with `run`, and the fence below lets pass only the run they belong to.
        SELECT s.attempts, s.run - s.tries + 1 INTO noted, first_run FROM sessions s WHERE s.thread_id = p_thread;
        IF (noted -> 0 ->> 'run')::bigint IS DISTINCT FROM first_run THEN
            -- A process of an older version counted the first of these attempts, and noted nothing.
            SELECT jsonb_build_array(jsonb_build_object('run', first_run)) || coalesce(jsonb_agg(n.note), '[]') INTO noted
                FROM jsonb_array_elements(noted) n (note) WHERE (n.note ->> 'run')::bigint > first_run;
        END IF;
    END IF;
    UPDATE sessions s SET
        applied_seq = CASE WHEN p_finishes THEN p_seq ELSE s.applied_seq END,
        log_index = s.log_index + p_logged,
        head_event = CASE
            WHEN p_reverts THEN least(s.head_event, s.applied_seq)
            WHEN '' = ANY (p_head_ns) THEN p_seq
            ELSE s.head_event END,
        run = s.run + (p_finishes AND upcoming.waits)::int,
        tries = CASE WHEN p_finishes THEN upcoming.waits::int ELSE s.tries END,
        open_questions = coalesce(p_open, s.open_questions),
        attempts = CASE
            WHEN NOT p_finishes THEN s.attempts
            WHEN upcoming.waits THEN jsonb_build_array(jsonb_build_object(
                'run', s.run + 1, 'at', clock_timestamp(), 'owner', p_owner, 'why', 'next')) END
    FROM (SELECT EXISTS (SELECT FROM events e WHERE e.thread_id = p_thread AND e.seq = p_seq + 1) AS waits) upcoming
    WHERE s.thread_id = p_thread AND s.owner = p_owner AND s.epoch = p_epoch AND s.run = p_run
      AND s.applied_seq = p_seq - 1 AND s.deleted_at IS NULL
      AND EXISTS (SELECT FROM replicas r WHERE r.id = p_owner)
    RETURNING s.log_index, s.run, s.head_event, p_finishes AND upcoming.waits, s.open_questions
        INTO log_index, run, head_event, next_counted, open_questions;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % of event % is no longer the session''s', p_run, p_seq USING ERRCODE = 'UB006';
    END IF;

    IF p_finishes THEN
        -- Under the session's lock: a cancel was either accepted before this, or finds the event ended.
        SELECT max(c.kind) FILTER (WHERE c.seq = p_seq), max(c.created_at) FILTER (WHERE c.seq = p_seq)
            INTO marked, cancelled_at
            FROM controls c WHERE c.thread_id = p_thread AND c.seq <= p_seq HAVING count(*) > 0;
        IF FOUND THEN
            IF marked IS NOT NULL AND NOT p_cancels THEN
                RAISE EXCEPTION 'event % was cancelled', p_seq USING ERRCODE = 'UB007', DETAIL = marked;
            END IF;
            DELETE FROM controls c WHERE c.thread_id = p_thread AND c.seq <= p_seq;
        END IF;
        SELECT h.base_id INTO former FROM heads h WHERE h.thread_id = p_thread AND h.checkpoint_ns = '';
        IF NOT FOUND THEN
            SELECT coalesce(max(c.checkpoint_id), '') INTO former
                FROM checkpoints c WHERE c.thread_id = p_thread AND c.checkpoint_ns = '';
        END IF;
    END IF;

    IF p_head_ns IS NOT NULL OR p_checkpoint_ns IS NOT NULL OR p_blob_ns IS NOT NULL OR p_write_ns IS NOT NULL THEN
        PERFORM unbroken_put_state_v1(
            p_thread, p_finishes, p_head_ns, p_head_id,
            p_checkpoint_ns, p_checkpoint_id, p_parent_id, p_checkpoint, p_metadata,
            p_blob_ns, p_blob_channel, p_blob_version, p_blob_type, p_blob,
            p_write_ns, p_write_checkpoint, p_write_task, p_write_path, p_write_idx,
            p_write_channel, p_write_type, p_write, p_write_replaces);
    END IF;
    IF NOT p_finishes THEN
        RETURN;
    END IF;
    IF p_reverts THEN
        UPDATE heads h SET checkpoint_id = h.base_id WHERE h.thread_id = p_thread AND h.checkpoint_id <> h.base_id;
    ELSE
        UPDATE heads h SET base_id = h.checkpoint_id WHERE h.thread_id = p_thread AND h.base_id <> h.checkpoint_id;
    END IF;
    SELECT h.checkpoint_id, h.base_id INTO head, base
        FROM heads h WHERE h.thread_id = p_thread AND h.checkpoint_ns = '';

    IF p_effect_id IS NOT NULL THEN
        INSERT INTO effects (thread_id, event_seq, ordinal, id, log_index, checkpoint_id, base_id, type, payload,
                             dedupe_key, status, next_attempt_at, trace_context, created_at, updated_at,
                             attempts, cancelled_at)
        SELECT p_thread, p_seq, u.ordinal, u.id, log_index - p_logged + u.log, nullif(head, ''), former, u.type,
            u.payload, u.dedupe,
            CASE WHEN u.log IS NOT NULL THEN NULL WHEN u.done THEN 'completed' ELSE 'pending' END,
            CASE WHEN u.log IS NULL AND NOT u.done THEN now() END,
            p_trace, now(), now(),
            CASE WHEN u.ordinal = 0 THEN noted END, CASE WHEN u.ordinal = 0 THEN cancelled_at END
        FROM unnest(p_effect_ordinal, p_effect_id, p_effect_type, p_effect, p_effect_dedupe, p_effect_log,
                    p_effect_done) u (ordinal, id, type, payload, dedupe, log, done);
    END IF;

    IF next_counted THEN
        SELECT e.seq, e.id, e.request_id, e.payload, e.trace_context, e.created_at
            INTO seq, id, request_id, payload, trace_context, created_at
            FROM events e WHERE e.thread_id = p_thread AND e.seq = p_seq + 1;
        SELECT c.kind INTO cancel FROM controls c WHERE c.thread_id = p_thread AND c.seq = p_seq + 1;
        superseded := EXISTS (
            SELECT FROM events e WHERE e.thread_id = p_thread AND e.seq > p_seq + 1 AND e.type <> 'timer_fired');
    END IF;
END
$$
