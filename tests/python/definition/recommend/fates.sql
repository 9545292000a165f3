-- How many candidates are dropped under each reason, and how many are not, with the paths that lead to them.
-- in: candidates    grain: reason    key: dropped    invariant: paths >= candidates > 0
SELECT dropped, count(*) AS candidates, CAST(sum(paths) AS BIGINT) AS paths
FROM candidates
GROUP BY dropped
