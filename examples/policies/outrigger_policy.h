/* What a policy program is told and what it claims: the layout of PolicyContext (firmware/PolicyEngine/PolicyContext.swift).

   A policy is one function in the section "policy":

       POLICY long decide(struct policy_context *context, struct policy_memory *own, struct policy_memory *shared) { ... return 0; }

   It is called once for each owner in each decision, in the order of their numbers, and sets `claim` and `weight`. What it claims is
   divided among all owners in whole units: by weight, where not everything can be had, and never below `least`. It returns 0; anything
   else gives up, and the policy before it decides instead.

   Compile with:   clang -O2 -target bpf -mcpu=v3 -c policy.c
   There are no loops (let the compiler unroll short ones), no calls (inline functions), no global variables. */
#ifndef OUTRIGGER_POLICY_H
#define OUTRIGGER_POLICY_H

typedef unsigned int u32;

#define POLICY __attribute__((section("policy"), used))
#define INLINE static inline __attribute__((always_inline))

/* Resources, as indices. */
enum resource {
    BANDWIDTH,      /* of the link, in 1/1000 */
    CORES,          /* service cores */
    MEMORY,         /* memory blocks */
    GPU,            /* accelerator slots of two types */
    FPGA,
    RESOURCES
};

/* What holds an owner up, in its latest interval that was analysed: docs/analysis.md. */
enum bottleneck { NOTHING, CORE_BOUND, LINK_TO_DEVICE_BOUND, MEDIUM_BOUND, LINK_TO_HOST_BOUND, MEMORY_BOUND };

struct policy_context {
    u32 version;                    /* of this layout: 2 */
    u32 decision;                   /* decisions since the start */
    u32 owner;                      /* 0 the host, 1...64 the virtual machines */
    u32 owners;                     /* that are active */
    u32 window_us;                  /* of a sampling window */
    u32 link_bytes_per_us;
    u32 scarce;                     /* a bit for each resource of which there isn't enough; from bit 8: that rests, and stays as it is */
    u32 hysteresis;                 /* no allocation of a resource changes for less, in 1/1000 of its capacity */
    u32 capacity[RESOURCES];        /* what there is to divide: without what is pinned, or always shared */
    u32 value[4];                   /* the policy's values: outrigger-agent policy set */
    u32 total_need[RESOURCES];      /* of all owners */
    u32 owner_weight;               /* the host's weight for the owner */
    u32 most;                       /* it may have of the link, in 1/1000 */
    u32 latency_target_us;          /* the host wants for it (outrigger-agent set terms); 0: none in particular */
    u32 demand;                     /* averaged, in 1/1000 of the link, with head room */
    u32 forecast;                   /* of the demand, and the upper end of its interval; the demand, if nothing is forecast */
    u32 forecast_high;
    u32 bottleneck;
    u32 requests;                   /* in its last active window */
    u32 bytes;
    u32 depth;                      /* requests in flight at the window's end */
    u32 request_bytes;              /* mean */
    u32 latency50_us;               /* half of the requests took no longer */
    u32 latency99_us;
    u32 sequential;                 /* requests that were, in 1/1000 */
    u32 need[RESOURCES];            /* what should be the owner's own; of cores, memory and slots nothing while they aren't scarce */
    u32 least[RESOURCES];           /* what it gets at least */
    u32 grant[RESOURCES];           /* what it has */
    u32 is_active;                  /* or is forecast to be */

    /* Only these two may be written. */
    u32 claim[RESOURCES];           /* what it should have, at most 65535; at first what it needs */
    u32 weight;                     /* 1...255; at first the owner's weight. By as many powers of 2 as it is greater than that the link, the
                                       cores and the slots prefer the owner where they serve by weight */

    u32 expected[RESOURCES];        /* what it will use, at the upper end of the forecast, whether or not that has to be its own */
    u32 boost;                      /* that power of 2, in force */
};

_Static_assert(sizeof(struct policy_context) == 256, "the layout is 64 words");

/* What a policy keeps from one decision to the next, zero at first: `own` for each owner, `shared` for all. */
struct policy_memory {
    u32 word[16];
};

INLINE u32 least_of(u32 left, u32 right) { return left < right ? left : right; }
INLINE u32 most_of(u32 left, u32 right) { return left > right ? left : right; }

#endif
