-- The agent's state: heads first, then the rows they point to. Part of a commit, or of a tool's write.
--
-- A namespace without a head gets as base the highest id that stands BEFORE these rows: what the official saver left
-- there, or '' (nothing). So a failed first event goes back to what it found, and not to its own supersteps.
-- `p_rests`: the event ends here, or there is none; the named heads are what a failure goes back to from here on.
-- Rows are written in the order of their keys, so that two writers outside of turns cannot deadlock.
CREATE FUNCTION unbroken_put_state_v1(
    p_thread text, p_rests boolean,
    p_head_ns text[], p_head_id text[],
    p_checkpoint_ns text[], p_checkpoint_id text[], p_parent_id text[], p_checkpoint jsonb[], p_metadata jsonb[],
    p_blob_ns text[], p_blob_channel text[], p_blob_version text[], p_blob_type text[], p_blob bytea[],
    p_write_ns text[], p_write_checkpoint text[], p_write_task text[], p_write_path text[], p_write_idx integer[],
    p_write_channel text[], p_write_type text[], p_write bytea[], p_write_replaces boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_head_ns IS NOT NULL THEN
        INSERT INTO heads (thread_id, checkpoint_ns, checkpoint_id, base_id)
        SELECT p_thread, u.ns, u.id,
            CASE WHEN p_rests THEN u.id ELSE coalesce(
                (SELECT max(c.checkpoint_id) FROM checkpoints c
                 WHERE c.thread_id = p_thread AND c.checkpoint_ns = u.ns), '') END
        FROM unnest(p_head_ns, p_head_id) u (ns, id) ORDER BY u.ns
        ON CONFLICT (thread_id, checkpoint_ns) DO UPDATE SET
            checkpoint_id = excluded.checkpoint_id,
            base_id = CASE WHEN p_rests THEN excluded.checkpoint_id ELSE heads.base_id END;
    END IF;

    IF p_checkpoint_ns IS NOT NULL THEN
        INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
        SELECT p_thread, u.ns, u.id, u.parent, u.checkpoint, u.metadata
        FROM unnest(p_checkpoint_ns, p_checkpoint_id, p_parent_id, p_checkpoint, p_metadata)
            u (ns, id, parent, checkpoint, metadata) ORDER BY u.ns, u.id
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
            checkpoint = excluded.checkpoint, metadata = excluded.metadata;
    END IF;

    IF p_blob_ns IS NOT NULL THEN
        INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
        SELECT p_thread, u.ns, u.channel, u.version, u.type, u.blob
        FROM unnest(p_blob_ns, p_blob_channel, p_blob_version, p_blob_type, p_blob)
            u (ns, channel, version, type, blob) ORDER BY u.ns, u.channel, u.version
        ON CONFLICT DO NOTHING;
    END IF;

    IF p_write_ns IS NOT NULL THEN
        INSERT INTO checkpoint_writes AS w
            (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
        SELECT p_thread, u.ns, u.id, u.task, u.path, u.idx, u.channel, u.type, u.blob
        FROM unnest(p_write_ns, p_write_checkpoint, p_write_task, p_write_path, p_write_idx, p_write_channel,
                    p_write_type, p_write, p_write_replaces)
            u (ns, id, task, path, idx, channel, type, blob, replaces)
        WHERE NOT u.replaces ORDER BY u.ns, u.id, u.task, u.idx
        ON CONFLICT DO NOTHING;

        INSERT INTO checkpoint_writes AS w
            (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
        SELECT p_thread, u.ns, u.id, u.task, u.path, u.idx, u.channel, u.type, u.blob
        FROM unnest(p_write_ns, p_write_checkpoint, p_write_task, p_write_path, p_write_idx, p_write_channel,
                    p_write_type, p_write, p_write_replaces)
            u (ns, id, task, path, idx, channel, type, blob, replaces)
        WHERE u.replaces ORDER BY u.ns, u.id, u.task, u.idx
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
            channel = excluded.channel, type = excluded.type, blob = excluded.blob, task_path = excluded.task_path;
    END IF;
END
$$
