-- Set some pairs of what clients noted of a thread, whether or not anything ran in it. `p_limit`: bytes of all of them.
--
-- Locks: inbox, where there is one, so that no deletion is under way: a note must not outlive its thread.
CREATE FUNCTION unbroken_describe_thread_v1(p_thread text, p_user text, p_metadata jsonb, p_limit integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    session record;
    noted jsonb;
BEGIN
    PERFORM FROM inbox i WHERE i.thread_id = p_thread FOR NO KEY UPDATE;
    SELECT s.user_id, s.deleted_at, s.created_at INTO session FROM sessions s WHERE s.thread_id = p_thread;
    IF FOUND THEN
        IF session.user_id <> p_user THEN
            RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
        IF session.deleted_at IS NOT NULL THEN
            RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
        END IF;
        INSERT INTO thread_records AS t (thread_id, user_id, metadata, created_at, updated_at)
            VALUES (p_thread, p_user, p_metadata, session.created_at, clock_timestamp())
            ON CONFLICT (thread_id) DO UPDATE SET
                user_id = p_user, updated_at = clock_timestamp(),
                -- A process of the version before binds a thread without looking whose record there is.
                metadata = CASE WHEN t.user_id = p_user THEN t.metadata ELSE '{}' END || p_metadata
            RETURNING t.metadata INTO noted;
    ELSE
        UPDATE thread_records t SET metadata = t.metadata || p_metadata, updated_at = clock_timestamp()
            WHERE t.thread_id = p_thread AND t.user_id = p_user
            RETURNING t.metadata INTO noted;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no such thread' USING ERRCODE = 'UB001', DETAIL = p_thread;
        END IF;
    END IF;
    IF octet_length(noted::text) > p_limit THEN
        RAISE EXCEPTION 'the metadata are longer than % bytes', p_limit USING ERRCODE = 'UB012', DETAIL = 'metadata';
    END IF;
END
$$
