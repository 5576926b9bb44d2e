-- A durable mark: this event is to end as cancelled, or as if it had never been said. As version 1, which knew of the
-- former only. A mark that is there stays as it is.
--
-- Locks: sessions → controls. Whoever finishes the event holds the session's row and reads the marks under it: either
-- that commit sees this mark and is refused, or this call waits for it and finds the event ended.
CREATE FUNCTION unbroken_cancel_v2(
    p_thread text, p_user text, p_agent text, p_request text, p_kind text,
    OUT seq bigint, OUT kind text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    session record;
BEGIN
    SELECT s.user_id, s.agent_id, s.applied_seq, s.deleted_at INTO session
        FROM sessions s WHERE s.thread_id = p_thread FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such request' USING ERRCODE = 'UB009', DETAIL = p_request;
    END IF;
    IF session.user_id <> p_user OR session.agent_id <> p_agent THEN
        RAISE EXCEPTION 'the thread belongs to another user or agent' USING ERRCODE = 'UB001', DETAIL = p_thread;
    END IF;
    IF session.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
    END IF;
    SELECT e.seq INTO seq FROM events e WHERE e.thread_id = p_thread AND e.request_id = p_request;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such request' USING ERRCODE = 'UB009', DETAIL = p_request;
    END IF;
    IF seq <= session.applied_seq THEN
        RAISE EXCEPTION 'the request has ended' USING ERRCODE = 'UB010', DETAIL = p_request;
    END IF;
    INSERT INTO controls (thread_id, seq, kind, created_at) VALUES (p_thread, seq, p_kind, clock_timestamp())
        ON CONFLICT DO NOTHING;
    SELECT c.kind INTO STRICT kind FROM controls c WHERE c.thread_id = p_thread AND c.seq = unbroken_cancel_v2.seq;
END
$$
