-- Every accepted event with its session key, and where it stands.
CREATE VIEW audit_trail AS
SELECT
    e.id,
    unbroken_session_key_v1(s.user_id, s.agent_id, s.thread_id) AS session_key,
    e.seq,
    e.type,
    e.payload,
    e.created_at,
    CASE
        WHEN e.seq <= s.applied_seq THEN 'applied'
        WHEN e.seq = s.applied_seq + 1 AND s.tries > 0 THEN 'running'
        ELSE 'waiting' END AS state,
    e.request_id,
    e.trace_context,
    e.thread_id
FROM events e
JOIN sessions s USING (thread_id)
