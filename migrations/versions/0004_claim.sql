-- Count the next attempt at a session's first unfinished event, and take the session: if nobody alive has it.
--
-- As version 2, and knows of attempts that were handed over: they are no tries, and whoever follows takes over from them.
-- `p_because`: why this replica's own attempt before it ended; null: it does not know of one.
--
-- Locks: sessions only. The first look takes no lock: most calls find nothing to do, and a lock alone would already
-- cost a flush of the log and wait behind the owner's commit. The second look, under the lock, decides.
CREATE FUNCTION unbroken_claim_v3(
    p_thread text, p_replica bigint, p_because text,
    OUT claimed boolean, OUT user_id text, OUT agent_id text,
    OUT seq bigint, OUT id text, OUT request_id text, OUT payload jsonb, OUT trace_context jsonb,
    OUT created_at timestamptz,
    OUT epoch bigint, OUT run bigint, OUT tries integer, OUT head text, OUT base text, OUT head_event bigint,
    OUT log_index bigint, OUT superseded boolean, OUT taken_over boolean, OUT handed_over integer,
    OUT cancel text, OUT open_questions text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    former bigint;
    noted jsonb;
BEGIN
    claimed := false;
    PERFORM FROM sessions s
        JOIN events e ON e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1
        WHERE s.thread_id = p_thread AND s.deleted_at IS NULL
          AND (s.owner = p_replica
               OR (NOT EXISTS (SELECT FROM replicas r WHERE r.id = s.owner AND r.expires_at > clock_timestamp())
                   AND EXISTS (SELECT FROM replicas r WHERE r.id = p_replica AND r.expires_at > clock_timestamp())));
    IF NOT FOUND THEN
        RETURN;
    END IF;

    PERFORM FROM sessions s WHERE s.thread_id = p_thread FOR NO KEY UPDATE;

    SELECT s.owner, s.user_id, s.agent_id, e.seq, e.id, e.request_id, e.payload, e.trace_context, e.created_at
        INTO former, user_id, agent_id, seq, id, request_id, payload, trace_context, created_at
        FROM sessions s
        JOIN events e ON e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1
        WHERE s.thread_id = p_thread AND s.deleted_at IS NULL
          AND (s.owner = p_replica
               OR (NOT EXISTS (SELECT FROM replicas r WHERE r.id = s.owner AND r.expires_at > clock_timestamp())
                   AND EXISTS (SELECT FROM replicas r WHERE r.id = p_replica AND r.expires_at > clock_timestamp())));
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- A repeated attempt gets a new epoch even from the same owner: whoever still runs the former one is fenced out.
    UPDATE sessions s SET
        epoch = s.epoch + (s.owner IS DISTINCT FROM p_replica OR s.tries > 0)::int,
        owner = p_replica,
        run = s.run + 1,
        tries = s.tries + 1,
        attempts = CASE WHEN s.tries > 0 THEN coalesce(s.attempts, '[]') ELSE '[]' END
            || jsonb_strip_nulls(jsonb_build_object(
                'run', s.run + 1, 'at', clock_timestamp(), 'owner', p_replica,
                'why', CASE
                    WHEN s.tries = 0 THEN 'found'
                    WHEN s.owner = p_replica THEN 'again'
                    WHEN EXISTS (SELECT FROM replicas r WHERE r.id = s.owner) THEN 'lease_expired'
                    ELSE 'owner_gone' END,
                -- What lies above it, this attempt has made.
                'head', CASE WHEN s.tries > 0 THEN coalesce((
                    SELECT h.checkpoint_id FROM heads h WHERE h.thread_id = p_thread AND h.checkpoint_ns = ''), '') END,
                'because', CASE WHEN s.tries > 0 AND s.owner = p_replica THEN p_because END))
    WHERE s.thread_id = p_thread
    RETURNING s.epoch, s.run, s.tries, s.head_event, s.log_index, s.open_questions, s.attempts
        INTO epoch, run, tries, head_event, log_index, open_questions, noted;

    claimed := true;
    taken_over := former IS DISTINCT FROM p_replica AND (former IS NOT NULL OR tries > 1);
    SELECT count(*) INTO handed_over FROM jsonb_array_elements(noted) n (note) WHERE (n.note ->> 'released')::boolean;
    tries := tries - handed_over;
    superseded := EXISTS (
        SELECT FROM events e WHERE e.thread_id = p_thread AND e.seq > unbroken_claim_v3.seq AND e.type <> 'timer_fired');
    SELECT c.kind INTO cancel FROM controls c WHERE c.thread_id = p_thread AND c.seq = unbroken_claim_v3.seq;
    SELECT h.checkpoint_id, h.base_id INTO head, base
        FROM heads h WHERE h.thread_id = p_thread AND h.checkpoint_ns = '';
END
$$
