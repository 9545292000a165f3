-- severity: warn
-- Everybody who was suspended in the run published before is still listed in the user source.
SELECT count(*)
FROM previous_suspended_users AS previous
LEFT ANTI JOIN (SELECT user_id FROM raw.users WHERE user_id IS NOT NULL) AS users ON previous.user_id = users.user_id
