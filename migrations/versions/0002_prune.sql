-- Remove the checkpoints that nothing goes back to any more: part of a finishing commit, under its lock.
--
-- What stays is what a head or its base points to, and where the last `p_keep` events began, or those that they replaced:
-- from there a message can be replaced (again). Of another namespace, for each of those places the last checkpoint before it, which is what a fork takes.
-- What lies above the root head is not ours, and stays for whoever adopts it.
-- Nothing happens while a question is open (a parked subgraph may need rows of a call), where a DeltaChannel's value is
-- spread over its ancestors, and in a thread that another saver left very long: that is not work for a commit.
CREATE FUNCTION unbroken_prune_v1(p_thread text, p_keep integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    applied bigint;
    tip text;
    bases text[];
    kept_ns text[];
    kept_id text[];
    is_delta boolean;
    pruned bigint;
BEGIN
    SELECT s.applied_seq, h.checkpoint_id INTO applied, tip
        FROM sessions s JOIN heads h USING (thread_id)
        WHERE s.thread_id = p_thread AND s.open_questions = '{}' AND h.checkpoint_ns = '';
    IF NOT FOUND OR tip = '' OR 5000 < (
            SELECT count(*) FROM (SELECT FROM checkpoints c WHERE c.thread_id = p_thread LIMIT 5001) counted) THEN
        RETURN 0;
    END IF;
    WITH RECURSIVE place AS (
        SELECT e.seq, e.payload ->> 'replaces' AS replaces
        FROM events e WHERE e.thread_id = p_thread AND e.seq > applied - p_keep AND e.seq <= applied
        UNION
        SELECT e.seq, e.payload ->> 'replaces' FROM place p
        JOIN events e ON e.thread_id = p_thread AND e.request_id = p.replaces AND e.seq < p.seq
    )
    SELECT coalesce(array_agg(DISTINCT f.base_id), '{}') INTO bases
        FROM place p CROSS JOIN LATERAL (
            SELECT v.base_id FROM effects v WHERE v.thread_id = p_thread AND v.event_seq = p.seq LIMIT 1) f
        WHERE f.base_id <> '';

    SELECT array_agg(c.checkpoint_ns), array_agg(c.checkpoint_id),
            bool_or(c.metadata ?| ARRAY['counters_since_delta_snapshot', 'delta_writes_versioned'])
        INTO kept_ns, kept_id, is_delta
        FROM (
            SELECT '' AS ns, b.id FROM unnest(bases) b (id)
            UNION
            SELECT h.checkpoint_ns, pointed.id
            FROM heads h CROSS JOIN LATERAL (VALUES (h.checkpoint_id), (h.base_id)) pointed (id)
            WHERE h.thread_id = p_thread
            UNION
            SELECT h.checkpoint_ns, (
                SELECT max(c.checkpoint_id) FROM checkpoints c
                WHERE c.thread_id = p_thread AND c.checkpoint_ns = h.checkpoint_ns AND c.checkpoint_id < b.id)
            FROM heads h CROSS JOIN unnest(bases) b (id) WHERE h.thread_id = p_thread AND h.checkpoint_ns <> ''
        ) stays
        CROSS JOIN LATERAL (
            SELECT * FROM checkpoints v
            WHERE v.thread_id = p_thread AND v.checkpoint_ns = stays.ns AND v.checkpoint_id = stays.id LIMIT 1) c;
    IF kept_id IS NULL OR is_delta THEN
        RETURN 0;
    END IF;

    WITH gone AS (
        DELETE FROM checkpoints c
        WHERE c.thread_id = p_thread AND c.checkpoint_id < tip
          AND (c.checkpoint_ns, c.checkpoint_id) NOT IN (SELECT k.ns, k.id FROM unnest(kept_ns, kept_id) k (ns, id))
        RETURNING c.checkpoint_ns AS ns, c.checkpoint_id AS id, c.checkpoint -> 'channel_versions' AS versions
    ), beside AS (
        DELETE FROM checkpoint_writes w USING gone g
        WHERE w.thread_id = p_thread AND w.checkpoint_ns = g.ns AND w.checkpoint_id = g.id
    ), orphans AS (
        SELECT g.ns, named.key, named.value FROM gone g CROSS JOIN jsonb_each_text(g.versions) named
        EXCEPT
        SELECT c.checkpoint_ns, named.key, named.value
        FROM checkpoints c CROSS JOIN jsonb_each_text(c.checkpoint -> 'channel_versions') named
        WHERE c.thread_id = p_thread AND NOT EXISTS (
            SELECT FROM gone g WHERE g.ns = c.checkpoint_ns AND g.id = c.checkpoint_id)
    ), values_of AS (
        DELETE FROM checkpoint_blobs b USING orphans o
        WHERE b.thread_id = p_thread AND b.checkpoint_ns = o.ns AND b.channel = o.key AND b.version = o.value
    )
    SELECT count(*) INTO pruned FROM gone;
    RETURN pruned;
END
$$
