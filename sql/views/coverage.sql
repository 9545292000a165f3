-- How many users the run reaches.
-- in: closest_connections, reputation_scores, recommendations    grain: the run
SELECT connected.users AS users_with_connections, recommended.users AS users_with_recommendations,
       recommended.users / CAST(nullif(connected.users, 0) AS DOUBLE) AS share,
       recommended.recommendations / CAST(nullif(recommended.users, 0) AS DOUBLE) AS recommendations_per_user,
       recommended.others AS users_recommended, scored.users AS users_scored, scored.good AS users_scored_above_half
FROM (SELECT count(DISTINCT user_id) AS users FROM closest_connections) AS connected
CROSS JOIN (SELECT count(DISTINCT user_id) AS users, count(*) AS recommendations, count(DISTINCT rec_id) AS others
            FROM recommendations) AS recommended
CROSS JOIN (SELECT count(*) AS users, sum(CASE WHEN pred >= 0.5 THEN 1 ELSE 0 END) AS good
            FROM reputation_scores) AS scored
