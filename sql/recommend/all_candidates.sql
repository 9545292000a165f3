-- The candidates of all users as one value, which everybody can be joined to.
-- in: candidates    grain: everything
SELECT 0 AS everybody, candidates_by_user(user_id, candidates) AS by_user
FROM candidates
