\set user random(1, :users)
SELECT rec_id, rank, score, array_agg(reason_id ORDER BY weight DESC, reason_id) AS reasons
FROM graph_recs.recommendations
JOIN graph_recs.rec_reasons USING (user_id, rec_id)
WHERE user_id = :user
GROUP BY rec_id, rank, score
ORDER BY rank;
