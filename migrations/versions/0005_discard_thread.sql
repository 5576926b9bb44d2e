-- Remove a thread in which nothing ran. False: something did, and its session has to be deleted.
--
-- Locks: the inbox's key, as unbroken_record_thread_v1 takes it: nothing can come to run in the thread meanwhile.
CREATE FUNCTION unbroken_discard_thread_v1(p_thread text, p_user text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO inbox (thread_id, next_seq) VALUES (p_thread, 1) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM FROM sessions s WHERE s.thread_id = p_thread AND s.user_id = p_user;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        RETURN false;
    END IF;
    DELETE FROM inbox i WHERE i.thread_id = p_thread;
    DELETE FROM thread_records t WHERE t.thread_id = p_thread AND t.user_id = p_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such thread' USING ERRCODE = 'UB001', DETAIL = p_thread;
    END IF;
    RETURN true;
END
$$
