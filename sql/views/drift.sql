-- How far the run moved from the one before it.
-- in: the four tables, and those of the run before as previous.*    grain: measure
SELECT measure, previous, current, current - previous AS change
FROM (
    SELECT 1 AS place, 'connections' AS measure,
           (SELECT CAST(count(*) AS DOUBLE) FROM previous.closest_connections) AS previous,
           (SELECT CAST(count(*) AS DOUBLE) FROM closest_connections) AS current
    UNION ALL
    SELECT 2, 'users scored',
           (SELECT CAST(count(*) AS DOUBLE) FROM previous.reputation_scores),
           (SELECT CAST(count(*) AS DOUBLE) FROM reputation_scores)
    UNION ALL
    SELECT 3, 'mean reputation',
           (SELECT avg(pred) FROM previous.reputation_scores),
           (SELECT avg(pred) FROM reputation_scores)
    UNION ALL
    SELECT 4, 'recommendations',
           (SELECT CAST(count(*) AS DOUBLE) FROM previous.recommendations),
           (SELECT CAST(count(*) AS DOUBLE) FROM recommendations)
    UNION ALL
    SELECT 5, 'users with recommendations',
           (SELECT CAST(count(DISTINCT user_id) AS DOUBLE) FROM previous.recommendations),
           (SELECT CAST(count(DISTINCT user_id) AS DOUBLE) FROM recommendations)
    UNION ALL
    SELECT 6, 'mean score',
           (SELECT avg(CAST(score AS DOUBLE)) FROM previous.recommendations),
           (SELECT avg(CAST(score AS DOUBLE)) FROM recommendations)
    UNION ALL
    SELECT 7, 'recommendations in both runs',
           (SELECT CAST(count(*) AS DOUBLE) FROM previous.recommendations AS old
            JOIN recommendations AS new ON old.user_id = new.user_id AND old.rec_id = new.rec_id),
           (SELECT CAST(count(*) AS DOUBLE) FROM previous.recommendations AS old
            JOIN recommendations AS new ON old.user_id = new.user_id AND old.rec_id = new.rec_id)
) AS measures
ORDER BY place
