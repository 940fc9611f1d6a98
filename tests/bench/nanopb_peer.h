/* SPDX-License-Identifier: Apache-2.0 */
/* The plain nanopb decoder as a peer: generated descriptors, callbacks, the same columns. */
#ifndef PRA_BENCH_NANOPB_PEER_H
#define PRA_BENCH_NANOPB_PEER_H

#include "bench.h"

typedef struct nanopb_peer nanopb_peer;

/* Arrays as large as like's. */
nanopb_peer *nanopb_peer_new(const pra_columns *like);
void nanopb_peer_decode(nanopb_peer *peer, const char *data, size_t len);
/* Series, labels and samples of the last decode. */
void nanopb_peer_columns(const nanopb_peer *peer, pra_columns *out);
void nanopb_peer_free(nanopb_peer *peer);

#endif
