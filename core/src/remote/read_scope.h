/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_READ_SCOPE_H
#define PRA_REMOTE_READ_SCOPE_H

#include "remote/handler.h"

/* Changes the queries of req, whose matchers are not compiled yet: matchers that are ignored go,
 * those for an external label ask for no such label, time ranges keep to read_delay_ms and
 * read_max_age_ms. A range may end before it starts: nothing is in it. */
void pra__read_scope_apply(const pra_handler *h, pra_read_request *req);

#endif
