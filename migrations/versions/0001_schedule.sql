-- Set a timer: one row for each effect that ever set it, so that a repeat changes nothing, not even a fired one.
--
-- Locks: inbox → timers. Without the inbox row an accept that runs beside this would find no timer to cancel, and this
-- would not see its event: a timer would fire although its user had spoken (I10).
CREATE FUNCTION unbroken_schedule_v1(
    p_thread text, p_timer text, p_after_event bigint, p_created_by text, p_after_s double precision, p_payload jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM inbox i WHERE i.thread_id = p_thread FOR NO KEY UPDATE;
    PERFORM FROM sessions s WHERE s.thread_id = p_thread AND s.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM timers t WHERE t.thread_id = p_thread AND t.timer_id = p_timer AND t.created_by = p_created_by;
    IF FOUND THEN
        RETURN;
    END IF;
    UPDATE timers t SET status = 'cancelled'
        WHERE t.thread_id = p_thread AND t.timer_id = p_timer AND t.status = 'pending';
    INSERT INTO timers (thread_id, timer_id, generation, created_by, status, fire_at, payload, created_at)
    SELECT p_thread, p_timer,
        1 + coalesce((SELECT max(t.generation) FROM timers t WHERE t.thread_id = p_thread AND t.timer_id = p_timer), 0),
        p_created_by,
        CASE WHEN EXISTS (
            SELECT FROM events e WHERE e.thread_id = p_thread AND e.seq > p_after_event AND e.type <> 'timer_fired')
        THEN 'cancelled' ELSE 'pending' END,
        clock_timestamp() + make_interval(secs => p_after_s), p_payload, clock_timestamp();
END
$$
