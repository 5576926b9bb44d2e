-- What the planner remembers of these tables is taken anew, so that its samples hold nothing that was erased.
--
-- ANALYZE leaves what it knew of a table that is empty now: so each has a row meanwhile that nobody else ever sees.
CREATE FUNCTION unbroken_forget_statistics_v1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES ('', '', '{}');
    INSERT INTO checkpoint_blobs (thread_id, channel, version, type) VALUES ('', '', '', '');
    INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob) VALUES ('', '', '', 0, '', '');
    INSERT INTO events (thread_id, seq, id, request_id, type, payload, body_hash, trace_context, created_at)
        VALUES ('', 0, '', '', '', '{}', '', '{}', now());
    INSERT INTO effects (thread_id, event_seq, ordinal, id, base_id, type, payload, dedupe_key, status, trace_context,
                         created_at, updated_at)
        VALUES ('', 0, 0, '', '', '', '{}', '', 'completed', '{}', now(), now());
    ANALYZE checkpoints, checkpoint_blobs, checkpoint_writes, events, effects;
    DELETE FROM effects t WHERE t.thread_id = '';
    DELETE FROM events t WHERE t.thread_id = '';
    DELETE FROM checkpoint_writes t WHERE t.thread_id = '';
    DELETE FROM checkpoint_blobs t WHERE t.thread_id = '';
    DELETE FROM checkpoints t WHERE t.thread_id = '';
END
$$
