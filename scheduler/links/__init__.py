"""Links by e-mail and SMS: for participants whose phone no push service reaches."""
