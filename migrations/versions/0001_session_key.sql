-- `userId:agentId:threadId`, each part percent-encoded as domain.session.SessionKey does it. For people's eyes only:
-- nothing is found or decided by it.
CREATE FUNCTION unbroken_session_key_v1(p_user text, p_agent text, p_thread text)
RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_agg(
        CASE WHEN part ~ '^[A-Za-z0-9_.~-]*$' COLLATE "C" THEN part ELSE (
            SELECT string_agg(
                CASE WHEN chr(byte) ~ '[A-Za-z0-9_.~-]' COLLATE "C" THEN chr(byte) ELSE '%' || upper(lpad(to_hex(byte), 2, '0')) END,
                '' ORDER BY place)
            FROM (SELECT place, get_byte(convert_to(part, 'UTF8'), place) AS byte
                  FROM generate_series(0, octet_length(convert_to(part, 'UTF8')) - 1) place) bytes
        ) END,
        ':' ORDER BY number)
    FROM unnest(ARRAY[p_user, p_agent, p_thread]) WITH ORDINALITY parts (part, number)
$$
