#!/bin/sh
# Makes the reference sets that queries read. QRADAR: the console; SEC: token of an authorized service.
set -eu
: "${QRADAR:?host of the console}" "${SEC:?token of an authorized service}"
call() { curl -sS --fail-with-body -H "SEC: $SEC" -H 'Accept: application/json' "$@"; echo; }

call -o /dev/null "https://$QRADAR/api/reference_data/sets/imdswatch%20openstack-lab%20vlans" || call -X POST "https://$QRADAR/api/reference_data/sets?name=imdswatch%20openstack-lab%20vlans&element_type=NUM"
call -X POST -H 'Content-Type: application/json' --data '["210", "211"]' "https://$QRADAR/api/reference_data/sets/bulk_load/imdswatch%20openstack-lab%20vlans"

call -o /dev/null "https://$QRADAR/api/reference_data/sets/imdswatch%20openstack-lab%20responders" || call -X POST "https://$QRADAR/api/reference_data/sets?name=imdswatch%20openstack-lab%20responders&element_type=ALNIC"
call -X POST -H 'Content-Type: application/json' --data '["fa:16:3e:00:00:01", "fa-16-3e-00-00-01", "fa16.3e00.0001", "fa163e000001"]' "https://$QRADAR/api/reference_data/sets/bulk_load/imdswatch%20openstack-lab%20responders"
