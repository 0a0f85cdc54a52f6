import Registers
import Simulation

/// The load/store unit's long way, and instruction fetch: everything about an access that the page tables have no answer for.
extension Hart {
    enum Fetch {
        case instruction(FetchedInstruction)
        /// There is nothing to execute at this address: no plain memory, or the PMP forbids it.
        case fault(UInt32)
    }

    /// Decodes the instruction at `pc`.
    func fetch(_ pc: UInt32) -> Fetch {
        guard let low = fetchHalf(pc) else { return .fault(pc) }
        guard low & 3 == 3 else { return .instruction(Decoder.decode(UInt32(low))) }
        guard let high = fetchHalf(pc &+ 2) else { return .fault(pc &+ 2) }
        return .instruction(Decoder.decode(UInt32(high) &<< 16 | UInt32(low)))
    }

    private func fetchHalf(_ address: UInt32) -> UInt16? {
        guard permits(.execute, address, 2, core.pointee.state.privilege), let region = memory.region(at: address) else { return nil }
        return region.bytes.load(fromByteOffset: Int(UInt64(address) &- region.base), as: UInt16.self)
    }

    /// Code has been decoded: stores to it have to be seen.
    func markCode(_ pc: UInt32, bytes: UInt32) {
        memory.region(at: pc)?.markCode(pc, bytes: 2)
        if bytes == 4 { memory.region(at: pc &+ 2)?.markCode(pc &+ 2, bytes: 2) }
    }

    /// Whether the PMP permits a naturally aligned access. `page` is what is known of its page.
    @inline(__always)
    private func permits(_ kind: AccessKind, _ address: UInt32, _ size: Int, _ privilege: Privilege, _ page: UInt8) -> Bool {
        if page & PageTables.isMixed == 0 { return page & kind.rawValue != 0 }
        return core.pointee.state.pmp.permits(kind, address: address, size: size, privilege: privilege)
    }

    private func permits(_ kind: AccessKind, _ address: UInt32, _ size: Int, _ privilege: Privilege) -> Bool {
        permits(kind, address, size, privilege, pageAttributes(address &>> 12, privilege))
    }

    /// What the PMP says about all of a page, and whether it is plain memory.
    @inline(__always)
    private func pageAttributes(_ page: UInt32, _ privilege: Privilege) -> UInt8 {
        let known = core.pointee.pages.attributes(privilege)[Int(page)]
        return known != 0 ? known : lookUpAttributes(page, privilege)
    }

    @inline(never)
    private func lookUpAttributes(_ page: UInt32, _ privilege: Privilege) -> UInt8 {
        let low = UInt64(page) &<< 12
        var bits = PageTables.isKnown
        for kind in [AccessKind.read, .write, .execute] {
            switch core.pointee.state.pmp.permits(kind, low: low, high: low + 4096, privilege: privilege) {
            case true?: bits |= kind.rawValue
            case false?: break
            case nil: bits |= PageTables.isMixed
            }
        }
        if memory.region(at: page &<< 12) == nil { bits |= PageTables.isOutsideMemory }
        core.pointee.pages.willFill(page)
        core.pointee.pages.attributes(privilege)[Int(page)] = bits
        return bits
    }

    /// Loads `size` bytes, zero-extended. Raises an exception and returns nil if that is not possible; `fault` is the one for
    /// an access that isn't permitted or is answered with an error. Returns nil without one if the port wants the hart to stop before.
    func load(_ address: UInt32, _ size: UInt32, fault: Exception = .loadAccessFault) -> UInt32? {
        guard address & (size &- 1) == 0 else {
            raise(.loadAddressMisaligned, value: address)
            return nil
        }
        let privilege = core.pointee.state.dataPrivilege, page = pageAttributes(address &>> 12, privilege)
        guard permits(.read, address, Int(size), privilege, page) else {
            raise(fault, value: address)
            return nil
        }
        if page & PageTables.isOutsideMemory == 0, let region = memory.region(at: address), region.allowsDirectAccess {
            if region.isWatched {
                guard isPermitted(address, size) else { return nil }
            } else if region.latency == 0 && page & PageTables.isMixed == 0 {
                core.pointee.pages.reads(privilege)[Int(address &>> 12)] = UInt(bitPattern: region.bytes) &- UInt(region.base)
            }
            core.pointee.state.time &+= region.latency
            return region.read(address, size)
        }
        guard isPermitted(address, size) else { return nil }
        var access = BusAccess(
            read: UInt64(address), size: Int(size), initiator: .hart(id), origin: core.pointee.state.pc,
            time: core.pointee.state.time)
        guard send(&access) == .ok else {
            raise(fault, value: address)
            return nil
        }
        return UInt32(truncatingIfNeeded: access.value) & (.max &>> (32 &- 8 &* size))
    }

    /// Stores the low `size` bytes of `value`. Raises an exception and returns false if that is not possible; without one, if the port
    /// wants the hart to stop before.
    func store(_ address: UInt32, _ size: UInt32, _ value: UInt32) -> Bool {
        guard address & (size &- 1) == 0 else {
            raise(.storeAddressMisaligned, value: address)
            return false
        }
        let privilege = core.pointee.state.dataPrivilege, page = pageAttributes(address &>> 12, privilege)
        guard permits(.write, address, Int(size), privilege, page) else {
            raise(.storeAccessFault, value: address)
            return false
        }
        if page & PageTables.isOutsideMemory == 0, let region = memory.region(at: address), region.allowsDirectAccess {
            guard !region.isReadOnly else {
                raise(.storeAccessFault, value: address)
                return false
            }
            guard !region.isWatched || isPermitted(address, size, writing: value) else { return false }
            core.pointee.state.time &+= region.latency
            region.write(address, size, value)
            if region.hasCode(address) {
                region.codeWritten(UInt64(address) &- region.base, Int(size))
            } else if !region.isWatched && region.latency == 0 && page & PageTables.isMixed == 0 {
                core.pointee.pages.writes(privilege)[Int(address &>> 12)] = UInt(bitPattern: region.bytes) &- UInt(region.base)
            }
            return true
        }
        guard isPermitted(address, size, writing: value) else { return false }
        var access = BusAccess(
            write: UInt64(value & (.max &>> (32 &- 8 &* size))), to: UInt64(address), size: Int(size), initiator: .hart(id),
            origin: core.pointee.state.pc, time: core.pointee.state.time)
        guard send(&access) == .ok else {
            raise(.storeAccessFault, value: address)
            return false
        }
        return true
    }

    /// Asks the port, if the hart is watched. False: the state is that before the instruction, and the run ends.
    @inline(__always)
    private func isPermitted(_ address: UInt32, _ size: UInt32, writing value: UInt32? = nil) -> Bool {
        !core.pointee.isWatched || askPort(address, size, value)
    }

    /// Asks for the store of an atomic before its load takes time.
    func permitsAtomic(_ address: UInt32) -> Bool {
        !core.pointee.isWatched || memory.region(at: address)?.isWatched == false || askPort(address, 4, 0)
    }

    @inline(never)
    private func askPort(_ address: UInt32, _ size: UInt32, _ value: UInt32?) -> Bool {
        let (origin, time) = (core.pointee.state.pc, core.pointee.state.time)
        let access = value.map {
            BusAccess(write: UInt64($0), to: UInt64(address), size: Int(size), initiator: .hart(id), origin: origin, time: time)
        } ?? BusAccess(read: UInt64(address), size: Int(size), initiator: .hart(id), origin: origin, time: time)
        guard !port.permits(access) else { return true }
        core.pointee.limit = 0
        return false
    }

    /// Sends an access to the port. The instruction ends when it comes back, but not before its own cycle is over.
    private func send(_ access: inout BusAccess) -> BusStatus {
        let issue = core.pointee.state.time
        let status = port.access(&access)
        if access.time > issue &+ 1 { core.pointee.state.time = access.time &- 1 }
        horizonMayHaveChanged()
        return status
    }

    /// Whether `lr`, `sc` and atomics may be used here: in plain memory only, as registers don't support them.
    func supportsAtomics(_ address: UInt32) -> Bool {
        memory.region(at: address) != nil
    }

    /// Whether a store to this word is permitted, so that an atomic's load is not done for nothing.
    func canStore(_ address: UInt32) -> Bool {
        permits(.write, address, 4, core.pointee.state.dataPrivilege) && memory.region(at: address)?.isReadOnly != true
    }
}

extension MemoryRegion {
    @inline(__always)
    fileprivate func read(_ address: UInt32, _ size: UInt32) -> UInt32 {
        let offset = Int(UInt64(address) &- base)
        return switch size {
        case 1: UInt32(bytes.load(fromByteOffset: offset, as: UInt8.self))
        case 2: UInt32(bytes.load(fromByteOffset: offset, as: UInt16.self))
        default: bytes.load(fromByteOffset: offset, as: UInt32.self)
        }
    }

    @inline(__always)
    fileprivate func write(_ address: UInt32, _ size: UInt32, _ value: UInt32) {
        let offset = Int(UInt64(address) &- base)
        switch size {
        case 1: bytes.storeBytes(of: UInt8(truncatingIfNeeded: value), toByteOffset: offset, as: UInt8.self)
        case 2: bytes.storeBytes(of: UInt16(truncatingIfNeeded: value), toByteOffset: offset, as: UInt16.self)
        default: bytes.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
        }
    }
}
