-- A thread that no agent is bound to yet: a record, and neither inbox nor session. True: it was made now.
--
-- The inbox's key is the lock: whoever accepts or creates the first of a thread inserts it, and waits for us here as we
-- for them; ours goes with this transaction. So a record and a session of two users cannot come to be side by side.
CREATE FUNCTION unbroken_record_thread_v1(p_thread text, p_user text, p_metadata jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    found_user text;
    tombstone timestamptz;
BEGIN
    INSERT INTO inbox (thread_id, next_seq) VALUES (p_thread, 1) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT s.user_id, s.deleted_at INTO STRICT found_user, tombstone FROM sessions s WHERE s.thread_id = p_thread;
        IF found_user <> p_user THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        IF tombstone IS NOT NULL THEN
            RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
        END IF;
        RETURN false;
    END IF;
    DELETE FROM inbox i WHERE i.thread_id = p_thread;
    PERFORM FROM erased_threads t WHERE t.digest = sha256(convert_to(p_thread, 'UTF8'));
    IF FOUND THEN
        RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
    END IF;
    SELECT t.user_id INTO found_user FROM thread_records t WHERE t.thread_id = p_thread;
    IF FOUND THEN
        IF found_user <> p_user THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        RETURN false;
    END IF;
    INSERT INTO thread_records (thread_id, user_id, metadata, created_at, updated_at)
        SELECT p_thread, p_user, p_metadata, made_at, made_at FROM clock_timestamp() made_at;
    RETURN true;
END
$$
