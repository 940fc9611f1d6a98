/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_WRITE_RESULT_H
#define PRA_REMOTE_WRITE_RESULT_H

#include "base/buffer.h"
#include "pra.h"

enum { PRA__REASONS = 4, PRA__REASON_BYTES = 200, PRA__DATUM_KINDS = 4 };

struct pra_write_result {
    const pra_write_request *request; /* to name the offending series */
    uint64_t rejected[PRA__DATUM_KINDS];
    uint64_t rejected_series; /* taken out before the storage saw them */
    uint64_t refusals;        /* calls, of which the first PRA__REASONS are kept as text */
    int ignores_exemplars;    /* bad ones are not refused, where good ones are not kept either */
    size_t reason_count;
    char reasons[PRA__REASONS][PRA__REASON_BYTES];
};

void pra__write_result_init(pra_write_result *result, const pra_write_request *request);

/* A series or a datum that never reaches the storage: the callback of
 * pra_write_request_canonicalize, ctx being the result. Counts all that series holds. */
void pra__write_result_reject_canonical(void *result, int32_t kind, const pra_series *series,
                                        size_t index, const pra_error *why);

/* All native histograms or exemplars of the request: the storage does not keep them. */
void pra__write_result_reject_histograms(pra_write_result *result);
void pra__write_result_reject_exemplars(pra_write_result *result);

int pra__write_result_any(const pra_write_result *result);

/* Appends what was refused and why, one line of at most 1 KiB. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__write_result_text(const pra_write_result *result, pra_buffer *out);

#endif
