-- What people read of an event or an effect, as far as it is text: domain.threads.said, for searching.
CREATE FUNCTION unbroken_said_v1(p_type text, p_payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_type = 'user_message' AND jsonb_typeof(p_payload -> 'content') = 'string' THEN p_payload ->> 'content'
        WHEN p_type = 'user_message' THEN (
            SELECT string_agg(block ->> 'text', ' ' ORDER BY place)
            FROM jsonb_array_elements(p_payload -> 'content') WITH ORDINALITY blocks (block, place)
            WHERE block ->> 'type' = 'text')
        WHEN p_type IN ('input_response', 'request_input') AND jsonb_typeof(p_payload -> 'value') = 'string'
            THEN p_payload ->> 'value'
        WHEN p_type IN ('send_message', 'cancel_turn') THEN p_payload ->> 'text' END
$$
