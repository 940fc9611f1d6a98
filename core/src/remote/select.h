/* SPDX-License-Identifier: Apache-2.0 */
/* Queries over a storage's select and fetch. */
#ifndef PRA_REMOTE_SELECT_H
#define PRA_REMOTE_SELECT_H

#include "message/series_list.h"
#include "message/series_sink.h"
#include "remote/exchange.h"

/* Fills list, which was started, with the series of query, in order. */
int pra__select(const pra_exchange *x, const pra_query *query, pra_series_list *list,
                pra_error *err);
/* Has data of series id pushed into sink, whose series is open, from from_ms on. Returns PRA_OK
 * when the series is done, PRA_DONE when the sink has enough for now, or what the storage or the
 * sink failed with. */
int pra__fetch(const pra_exchange *x, const pra_query *query, uint64_t id, int64_t from_ms,
               pra_series_sink *sink, pra_error *err);
/* The whole answer to query into sink; list is only memory to be used for it. */
int pra__select_and_fetch(pra_exchange *x, const pra_query *query, pra_series_list *list,
                          pra_series_sink *sink, pra_error *err);

#endif
