-- What became of the candidates, for the report: dropped under a reason, recommended, or good but beyond the limit.
-- in: fates, top_candidates    grain: name    key: name
-- invariant: the numbers of all names but paths and candidates add up to that of candidates
SELECT 'paths' AS name, CAST(coalesce(sum(paths), 0) AS BIGINT) AS number
FROM fates
UNION ALL
SELECT 'candidates', CAST(coalesce(sum(candidates), 0) AS BIGINT)
FROM fates
UNION ALL
SELECT dropped, candidates
FROM fates
WHERE dropped IS NOT NULL
UNION ALL
SELECT 'recommended', count(*)
FROM top_candidates
UNION ALL
SELECT 'beyond_limit', CAST(kept.candidates - recommended.candidates AS BIGINT)
FROM (SELECT coalesce(sum(candidates), 0) AS candidates FROM fates WHERE dropped IS NULL) AS kept
CROSS JOIN (SELECT count(*) AS candidates FROM top_candidates) AS recommended
