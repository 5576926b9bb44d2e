-- As version 1, with what clients noted of the thread: leave nothing of it but its tombstone. Returns its agent; null: no such thread of that user, or none that idle.
--
-- Locks: inbox → sessions → the rest, in the order of all others. The inbox keeps accepts out, the session's row waits
-- for a commit that is under way; whatever comes after it finds the tombstone: an accept is refused, and a commit or a
-- claim matches no row (I5), as the epoch and the run have moved on. `FOR UPDATE`, because a cancel only shares the row.
-- `p_idle_s`: only if nothing was said or done for so long, nothing waits, and no timer is set; decided under the locks.
CREATE FUNCTION unbroken_delete_thread_v2(p_thread text, p_user text, p_idle_s double precision)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    session record;
BEGIN
    PERFORM FROM inbox i WHERE i.thread_id = p_thread FOR UPDATE;
    SELECT s.agent_id, s.deleted_at, s.created_at, s.applied_seq, s.log_index INTO session
        FROM sessions s WHERE s.thread_id = p_thread AND s.user_id = p_user FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF session.deleted_at IS NOT NULL THEN
        RETURN session.agent_id;
    END IF;
    IF p_idle_s IS NOT NULL THEN
        PERFORM WHERE clock_timestamp() - make_interval(secs => p_idle_s) >= greatest(
                session.created_at,
                (SELECT e.created_at FROM events e WHERE e.thread_id = p_thread ORDER BY e.seq DESC LIMIT 1),
                (SELECT f.created_at FROM effects f WHERE f.thread_id = p_thread AND f.log_index = session.log_index))
            AND NOT EXISTS (SELECT FROM events e WHERE e.thread_id = p_thread AND e.seq > session.applied_seq)
            AND NOT EXISTS (SELECT FROM timers t WHERE t.thread_id = p_thread AND t.status = 'pending');
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE inbox i SET waiting = false WHERE i.thread_id = p_thread;
    UPDATE sessions s SET
        deleted_at = clock_timestamp(), epoch = s.epoch + 1, run = s.run + 1, owner = NULL, tries = 0,
        title = NULL, open_questions = '{}'
    WHERE s.thread_id = p_thread;
    PERFORM unbroken_forget_v1(p_thread);
    DELETE FROM thread_records t WHERE t.thread_id = p_thread;
    RETURN session.agent_id;
END
$$
