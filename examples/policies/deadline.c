/* Latencies by their deadlines: an owner whose 99th percentile is above its target claims more and more, by a quarter at a time, until it
   is met; one that is well below gives it back, slowly. What it had learnt it keeps, so that the search isn't begun anew each time.

   value[0]: target in microseconds of owners that have none of their own; 0: 1000
   value[1]: the most of the link that a claim grows to, in 1/1000; 0: 500 */
#include "outrigger_policy.h"

/* Words of an owner's memory. */
enum { EXTRA /* what it claims beyond its need, in 1/256 of it */ };

POLICY long deadline(struct policy_context *context, struct policy_memory *own, struct policy_memory *shared)
{
    u32 target = context->latency_target_us ? context->latency_target_us : context->value[0] ? context->value[0] : 1000;
    u32 most = context->value[1] ? context->value[1] : 500;
    u32 extra = own->word[EXTRA];

    if (context->requests != 0) {
        if (context->latency99_us > target)
            extra = least_of(extra + extra / 4 + 32, 1024);
        else if (context->latency99_us < target / 2)
            extra -= extra / 16;
    }
    own->word[EXTRA] = extra;

    u32 need = context->need[BANDWIDTH];
    u32 claim = need + need * extra / 256;
    context->claim[BANDWIDTH] = least_of(claim, most_of(most, need));
    /* Who is late comes before those who aren't. */
    context->weight = context->latency99_us > target ? least_of(context->owner_weight * 8, 255) : context->owner_weight;
    return 0;
}
