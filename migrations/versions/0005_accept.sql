-- One event becomes durable, and an idle session is claimed for it: one statement, one transaction.
--
-- As version 2, and binds a thread that was made without an agent: by its first event, which must be its maker's. Later
-- ones find the session and look no further.
--
-- Locks: inbox → sessions → timers. The inbox row serializes the accepts of one thread, and each statement below has
-- a snapshot of its own, taken after that lock was won. So
--   * `seq` has no gaps: whoever raises takes its number back with everything else;
--   * of racing twins the second sees the first one's event here, and never runs into a unique violation;
--   * an idle session cannot change under us, as nothing but an accept can give it work.
-- A session that is not idle is read but not locked: an accept must never wait behind a turn's commit. What the commit
-- then fails to see, `inbox.waiting` lets the poll find. So does an idle session that another replica owned, or none,
-- if this one is not alive: whoever is would take it from us in the middle of the turn, and ask the model again.
--
-- One statement of CTEs did the same with one snapshot for all of it: of 8 racing first accepts the one that was
-- number 1 did not see the session that another was creating, and nobody owned it.
CREATE FUNCTION unbroken_accept_v3(
    p_thread text, p_user text, p_agent text,
    p_id text, p_request text, p_type text, p_payload jsonb, p_hash bytea, p_trace jsonb,
    p_from_user boolean, p_timer text, p_generation bigint,
    p_replica bigint, p_queue_limit bigint, p_when_busy text, p_waited_s double precision,
    OUT seq bigint, OUT created_at timestamptz,
    -- only for a duplicate: what was accepted then
    OUT duplicate boolean, OUT id text, OUT payload jsonb, OUT trace_context jsonb,
    -- only if claimed
    OUT claimed boolean, OUT epoch bigint, OUT run bigint, OUT head text, OUT base text, OUT head_event bigint,
    OUT log_index bigint, OUT taken_over boolean, OUT open_questions text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    session record;
    idle boolean;
BEGIN
    duplicate := false;
    claimed := false;
    LOOP
        SELECT i.next_seq INTO seq FROM inbox i WHERE i.thread_id = p_thread FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO inbox (thread_id, next_seq) VALUES (p_thread, 2) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            seq := 1;
            EXIT;
        END IF;
    END LOOP;
    -- The clock, not the transaction's start: whoever waited for the inbox row comes later in time, too.
    created_at := clock_timestamp();

    SELECT s.user_id, s.agent_id, s.owner, s.applied_seq, s.deleted_at,
            e.seq AS twin, e.id, e.payload, e.trace_context, e.created_at, e.body_hash INTO session
        FROM sessions s
        LEFT JOIN events e ON e.thread_id = s.thread_id AND e.request_id = p_request
        WHERE s.thread_id = p_thread;
    IF FOUND THEN
        IF session.user_id <> p_user OR session.agent_id <> p_agent THEN
            RAISE EXCEPTION 'the thread belongs to another user or agent' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        IF session.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
        END IF;
        IF session.twin IS NOT NULL THEN
            IF session.body_hash <> p_hash THEN
                RAISE EXCEPTION 'the request id stands for another body'
                    USING ERRCODE = 'UB003', DETAIL = p_request, HINT = session.twin::text;
            END IF;
            duplicate := true;
            seq := session.twin;
            id := session.id;
            payload := session.payload;
            trace_context := session.trace_context;
            created_at := session.created_at;
            RETURN;
        END IF;
        IF seq - 1 - session.applied_seq >= p_queue_limit THEN
            RAISE EXCEPTION 'the queue is full' USING ERRCODE = 'UB004', DETAIL = p_queue_limit::text;
        END IF;
        idle := session.applied_seq = seq - 1;
        claimed := idle AND (
            session.owner IS NOT DISTINCT FROM p_replica
            OR EXISTS (SELECT FROM replicas r WHERE r.id = p_replica AND r.expires_at > clock_timestamp()));
        IF p_when_busy = 'reject' AND NOT idle THEN
            RAISE EXCEPTION 'the thread is busy' USING ERRCODE = 'UB008', DETAIL = p_thread;
        END IF;
        UPDATE inbox i SET next_seq = seq + 1, waiting = i.waiting OR NOT claimed WHERE i.thread_id = p_thread;
        IF claimed THEN
            UPDATE sessions s SET
                epoch = s.epoch + (s.owner IS DISTINCT FROM p_replica)::int,
                owner = p_replica,
                run = s.run + 1,
                tries = 1,
                attempts = jsonb_build_array(jsonb_build_object(
                    'run', s.run + 1, 'at', unbroken_accept_v3.created_at, 'owner', p_replica, 'why', 'accepted'))
            WHERE s.thread_id = p_thread AND s.applied_seq = seq - 1 AND s.deleted_at IS NULL
            RETURNING s.epoch, s.run, s.head_event, s.log_index, s.open_questions
                INTO STRICT epoch, run, head_event, log_index, open_questions;
            taken_over := session.owner IS NOT NULL AND session.owner <> p_replica;
        ELSIF p_when_busy IN ('interrupt', 'rollback') THEN
            -- An event that ends meanwhile keeps its end; its mark goes with the next one.
            INSERT INTO controls (thread_id, seq, kind, created_at)
                SELECT p_thread, n, CASE p_when_busy WHEN 'interrupt' THEN 'cancel' ELSE 'rollback' END, clock_timestamp()
                FROM generate_series(session.applied_seq + 1, seq - 1) n
                ON CONFLICT DO NOTHING;
        END IF;
    ELSE
        -- The first accept inserts and later ones update: an upsert would lock the row even where it changes nothing.
        ASSERT seq = 1, 'an inbox without a session';
        PERFORM FROM thread_records t WHERE t.thread_id = p_thread AND t.user_id <> p_user;
        IF FOUND THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        claimed := EXISTS (SELECT FROM replicas r WHERE r.id = p_replica AND r.expires_at > clock_timestamp());
        epoch := claimed::int;
        run := claimed::int;
        head_event := 0;
        log_index := 0;
        taken_over := false;
        INSERT INTO sessions (thread_id, user_id, agent_id, owner, epoch, applied_seq, run, tries, head_event,
                              log_index, created_at, attempts)
            VALUES (p_thread, p_user, p_agent, CASE WHEN claimed THEN p_replica END, epoch, 0, run, claimed::int,
                    head_event, log_index, now(),
                    CASE WHEN claimed THEN jsonb_build_array(jsonb_build_object(
                        'run', run, 'at', created_at, 'owner', p_replica, 'why', 'accepted')) END);
        IF NOT claimed THEN
            UPDATE inbox i SET waiting = true WHERE i.thread_id = p_thread;
        END IF;
    END IF;

    INSERT INTO events (thread_id, seq, id, request_id, type, payload, body_hash, trace_context, created_at,
                        received_at)
        VALUES (p_thread, seq, p_id, p_request, p_type, p_payload, p_hash, p_trace, created_at,
                created_at - make_interval(secs => p_waited_s));

    IF p_from_user THEN
        UPDATE timers t SET status = 'cancelled' WHERE t.thread_id = p_thread AND t.status = 'pending';
    ELSIF p_timer IS NOT NULL THEN
        UPDATE timers t SET status = 'fired'
            WHERE t.thread_id = p_thread AND t.timer_id = p_timer AND t.generation = p_generation
              AND t.status = 'pending';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the timer is gone' USING ERRCODE = 'UB005', DETAIL = p_timer;
        END IF;
    END IF;

    IF claimed THEN
        -- Last: a tool's write that held the session's row until now may have moved the head.
        SELECT h.checkpoint_id, h.base_id INTO head, base
            FROM heads h WHERE h.thread_id = p_thread AND h.checkpoint_ns = '';
    END IF;
END
$$
