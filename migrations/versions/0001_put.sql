-- State written outside of any turn. Unfenced, but it waits for a turn's commit instead of meeting it halfway.
CREATE FUNCTION unbroken_put_v1(
    p_thread text,
    p_head_ns text[], p_head_id text[],
    p_checkpoint_ns text[], p_checkpoint_id text[], p_parent_id text[], p_checkpoint jsonb[], p_metadata jsonb[],
    p_blob_ns text[], p_blob_channel text[], p_blob_version text[], p_blob_type text[], p_blob bytea[],
    p_write_ns text[], p_write_checkpoint text[], p_write_task text[], p_write_path text[], p_write_idx integer[],
    p_write_channel text[], p_write_type text[], p_write bytea[], p_write_replaces boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM sessions s WHERE s.thread_id = p_thread FOR NO KEY UPDATE;
    PERFORM unbroken_put_state_v1(
        p_thread, true, p_head_ns, p_head_id,
        p_checkpoint_ns, p_checkpoint_id, p_parent_id, p_checkpoint, p_metadata,
        p_blob_ns, p_blob_channel, p_blob_version, p_blob_type, p_blob,
        p_write_ns, p_write_checkpoint, p_write_task, p_write_path, p_write_idx,
        p_write_channel, p_write_type, p_write, p_write_replaces);
END
$$
