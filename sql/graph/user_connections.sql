-- Each user's closest connections as one list, strongest first, with the number of engagements they come from.
-- in: engagements    grain: user    invariant: 1 to $closest connections, weights in seconds > 0
SELECT user_id, trimmed(closest['connections']) AS connections, trimmed(closest['used']) AS used,
       trimmed(closest['duplicates']) AS duplicates
FROM (
    SELECT user_id, top_connections(engaged_with_user_id, source, message_id, weight, $closest) AS closest
    FROM engagements
    GROUP BY user_id
)
ORDER BY user_id
