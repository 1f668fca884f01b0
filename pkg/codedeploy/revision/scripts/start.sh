#!/bin/sh
# The service comes up with the machine; this waits for that, and says why it does not.
set -u

systemctl start app.service && exit
systemctl status app.service --no-pager --lines 20 >&2
exit 1
