-- Attach a file to a thread of its user's.
--
-- Locks: sessions → files. The session's row is shared against its deletion only (a commit does not wait for this), and
-- two uploads of one thread take turns, so that neither passes the limit.
CREATE FUNCTION unbroken_add_file_v1(
    p_thread text, p_user text, p_file text, p_name text, p_mime_type text, p_data bytea, p_limit integer
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    session record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('files'), hashtext(p_thread));
    SELECT s.user_id, s.deleted_at INTO session FROM sessions s WHERE s.thread_id = p_thread FOR KEY SHARE;
    IF NOT FOUND OR session.user_id <> p_user THEN
        RAISE EXCEPTION 'the thread belongs to another user' USING ERRCODE = 'UB001', DETAIL = p_thread;
    END IF;
    IF session.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = p_thread;
    END IF;
    IF p_limit <= (SELECT count(*) FROM files f WHERE f.thread_id = p_thread) THEN
        RAISE EXCEPTION 'the thread has all the files it may have' USING ERRCODE = 'UB011', DETAIL = p_limit::text;
    END IF;
    INSERT INTO files (thread_id, file_id, name, mime_type, data, created_at)
        VALUES (p_thread, p_file, p_name, p_mime_type, p_data, clock_timestamp());
END
$$
