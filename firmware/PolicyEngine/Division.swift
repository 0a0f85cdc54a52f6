/// The last stage of a decision: whole units of every resource from what the policies claim.
extension PolicyEngine {
    /// Makes targets of the claims on what the decision is about, from the contexts alone: never more than there is, everybody's least
    /// kept, and what would change by no more than the hysteresis left as it is, unless somebody gives back the last units that he has.
    /// - Returns: the largest change, in 1/1000 of the resource's capacity.
    @discardableResult mutating func divide() -> UInt32 {
        var largest: UInt32 = 0
        for resource in Resource.all {
            guard divided & resource.bit != 0 else {
                keep(resource)
                continue
            }
            largest = max(largest, divide(resource))
        }
        return max(largest, boost())
    }

    /// Puts the policy's weights where the hardware lends what is left.
    /// - Returns: a change above the hysteresis, if anybody's changes.
    private mutating func boost() -> UInt32 {
        var change: UInt32 = 0
        var rest = concerned
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            boosts[owner] = context.wantedBoost
            guard boosts[owner] != context[.boost] else { continue }
            changing.insert(owner)
            change = context[.hysteresis] &+ 1
        }
        return change
    }

    private mutating func divide(_ resource: Resource) -> UInt32 {
        let owners = concerned
        var rest = owners
        guard let first = rest.popFirst() else { return 0 }
        let capacity = contexts[first][.capacity, resource], hysteresis = contexts[first][.hysteresis]
        let isResting = contexts[first][.scarce] >> 8 & resource.bit != 0
        allocator.begin()
        let (leasts, grants, claims) = (
            PolicyContext.Field.least.rawValue &+ resource.rawValue, PolicyContext.Field.grant.rawValue &+ resource.rawValue,
            PolicyContext.Field.claim.rawValue &+ resource.rawValue)
        let movingCost = resource.movingCost, isLink = resource == .bandwidth
        var held: UInt32 = 0, asked: UInt32 = 0
        rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner], words = context.words
            let least = words[leasts], now = words[grants]
            let claim = isLink ? min(words[claims], context[.most]) : words[claims]
            allocator.add(least: least, claim: claim, now: now, weight: context[.weight], movingCost: movingCost)
            held &+= now
            asked |= least | claim
        }
        let mustMove = held > capacity
        if (isResting && !mustMove) || held | asked == 0 { return keep(resource) }
        _ = allocator.divide(capacity)
        var largest: UInt32 = 0, givesAllBack = false
        var changing = OwnerSet()
        rest = owners
        var place = 0
        while let owner = rest.popFirst() {
            let target = allocator.units(place), now = contexts[owner].words[grants]
            targets[owner &* Resource.count &+ resource.rawValue] = target
            place &+= 1
            guard target != now else { continue }
            changing.insert(owner)
            largest = max(largest, now > target ? now &- target : target &- now)
            if target == 0, !isLink { givesAllBack = true }
        }
        let change = largest &* 1000 / max(capacity, 1), isForced = mustMove || givesAllBack
        guard isForced || change > hysteresis else { return keep(resource) }
        self.changing = self.changing.union(changing)
        return isForced ? max(change, hysteresis &+ 1) : change
    }

    /// Leaves a resource as it is.
    @discardableResult private func keep(_ resource: Resource) -> UInt32 {
        var rest = concerned
        while let owner = rest.popFirst() {
            targets[owner &* Resource.count &+ resource.rawValue] = contexts[owner][.grant, resource]
        }
        return 0
    }
}
