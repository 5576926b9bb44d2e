-- Every effect with the words that people use. What clients see has no status of its own: it follows from how far the
-- log was written to sockets and acknowledged, so delivering a message rewrites no row of it.
CREATE VIEW outbox AS
SELECT
    e.id,
    unbroken_session_key_v1(s.user_id, s.agent_id, s.thread_id) AS session_key,
    e.checkpoint_id,
    e.type,
    e.payload,
    e.dedupe_key,
    CASE
        WHEN e.log_index IS NULL THEN e.status
        WHEN e.log_index <= coalesce(d.acked, 0) THEN 'completed'
        WHEN e.log_index <= coalesce(d.sent, 0) THEN 'executing'
        ELSE 'pending' END AS status,
    e.created_at,
    e.updated_at,
    e.attempt_count,
    e.last_attempt_at,
    e.thread_id,
    e.event_seq,
    e.ordinal,
    e.log_index
FROM effects e
JOIN sessions s USING (thread_id)
LEFT JOIN deliveries d USING (thread_id)
