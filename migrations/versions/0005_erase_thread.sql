-- As version 1, with what clients noted of the thread: remove it with its tombstone. What stays is a digest of its id, so that it cannot be bound again.
--
-- Without that, an attempt of the erased thread that still runs could meet a new thread of the same id at the same
-- epoch, run and event, and its commit would pass the fence.
-- Locks as in unbroken_delete_thread_v2. False: no such thread of that user.
CREATE FUNCTION unbroken_erase_thread_v2(p_thread text, p_user text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM inbox i WHERE i.thread_id = p_thread FOR UPDATE;
    PERFORM FROM sessions s WHERE s.thread_id = p_thread AND s.user_id = p_user FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO erased_threads (digest) VALUES (sha256(convert_to(p_thread, 'UTF8'))) ON CONFLICT DO NOTHING;
    PERFORM unbroken_forget_v1(p_thread);
    DELETE FROM thread_records t WHERE t.thread_id = p_thread;
    DELETE FROM sessions s WHERE s.thread_id = p_thread;
    DELETE FROM inbox i WHERE i.thread_id = p_thread;
    RETURN true;
END
$$
