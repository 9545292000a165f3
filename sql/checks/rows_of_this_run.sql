-- severity: error
-- The tables hold the rows that this run's steps wrote, no more and no fewer.
SELECT sum(abs(found.rows - written.rows))
FROM written
JOIN (SELECT 'closest_connections' AS name, count(*) AS rows FROM closest_connections
      UNION ALL SELECT 'reputation_scores', count(*) FROM reputation_scores
      UNION ALL SELECT 'recommendations', count(*) FROM recommendations
      UNION ALL SELECT 'rec_reasons', count(*) FROM rec_reasons) AS found
  ON written.name = found.name
