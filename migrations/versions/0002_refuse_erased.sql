-- A thread that was erased with its user is never bound again, whoever asks: it would be met by attempts of the former.
CREATE FUNCTION unbroken_refuse_erased_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM erased_threads t WHERE t.digest = sha256(convert_to(NEW.thread_id, 'UTF8'));
    IF FOUND THEN
        RAISE EXCEPTION 'the thread was deleted' USING ERRCODE = 'UB002', DETAIL = NEW.thread_id;
    END IF;
    RETURN NEW;
END
$$
