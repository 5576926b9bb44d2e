-- A thread before its first message: its inbox and its session, bound to a user and an agent forever.
--
-- As version 1, and leaves a thread alone that somebody else has made without an agent.
-- Locks: inbox → sessions, as an accept takes them. Whoever comes second waits at the inbox's key and then reads what
-- the first one wrote, each statement having a snapshot of its own.
CREATE FUNCTION unbroken_create_thread_v2(p_thread text, p_user text, p_agent text, p_title text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    session record;
BEGIN
    INSERT INTO inbox (thread_id, next_seq) VALUES (p_thread, 1) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM FROM thread_records t WHERE t.thread_id = p_thread AND t.user_id <> p_user;
        IF FOUND THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        INSERT INTO sessions (thread_id, user_id, agent_id, title, epoch, applied_seq, run, tries, head_event,
                              log_index, created_at)
            VALUES (p_thread, p_user, p_agent, p_title, 0, 0, 0, 0, 0, 0, clock_timestamp());
        RETURN;
    END IF;
    SELECT s.user_id, s.agent_id, s.deleted_at INTO STRICT session FROM sessions s WHERE s.thread_id = p_thread;
    IF session.user_id <> p_user OR session.agent_id <> p_agent THEN
        RAISE EXCEPTION 'the thread belongs to another user or agent' USING ERRCODE = 'UB001', DETAIL = p_thread;
    END IF;
    IF session.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
    END IF;
END
$$
