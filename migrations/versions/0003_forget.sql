-- Everything that a thread holds, but for its inbox and what a tombstone needs of its session: part of a deletion,
-- which has locked both.
--
-- In the place of the former one, under its name: what was deleted is gone, also where a process of an older version
-- deletes it.
CREATE OR REPLACE FUNCTION unbroken_forget_v1(p_thread text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions t SET attempts = NULL WHERE t.thread_id = p_thread AND t.attempts IS NOT NULL;
    DELETE FROM heads t WHERE t.thread_id = p_thread;
    DELETE FROM checkpoint_writes t WHERE t.thread_id = p_thread;
    DELETE FROM checkpoint_blobs t WHERE t.thread_id = p_thread;
    DELETE FROM checkpoints t WHERE t.thread_id = p_thread;
    DELETE FROM timers t WHERE t.thread_id = p_thread;
    DELETE FROM effects t WHERE t.thread_id = p_thread;
    DELETE FROM events t WHERE t.thread_id = p_thread;
    DELETE FROM controls t WHERE t.thread_id = p_thread;
    DELETE FROM deliveries t WHERE t.thread_id = p_thread;
    DELETE FROM delivery_marks t WHERE t.thread_id = p_thread;
    DELETE FROM files t WHERE t.thread_id = p_thread;
END
$$
