-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), in millionths and seconds.
-- in: candidates    grain: user, candidate    key: user_id, rec_id
SELECT user_id, rec_id, CAST(pred AS DECIMAL(38, 0)) * weight AS score
FROM candidates
WHERE dropped IS NULL
