-- Pairs of users who are recommended to each other.
-- in: recommendations    grain: pair    invariant: user_id < other_id
SELECT one.user_id, one.rec_id AS other_id, one.rank, other.rank AS other_rank, one.score, other.score AS other_score
FROM recommendations AS one
JOIN recommendations AS other ON one.user_id = other.rec_id AND one.rec_id = other.user_id
WHERE one.user_id < one.rec_id
