/// The registers of one instance of a block: their values, and what accesses from both sides do to them.
///
/// A model owns one and hands it the accesses that software makes; what is special about the block it adds in the hooks of
/// ``RegisterModel``. Values live in raw memory and everything about them is compiled to masks at creation, so that an access is a
/// table look-up and a few bit operations. Not thread-safe: it belongs to one device, behind that device's lock.
public final class RegisterBlock {
    public let map: RegisterMap
    /// The number that the owner of several blocks gives this one's first register; its other registers follow.
    public let number: Int

    @usableFromInline let layouts: UnsafeMutablePointer<RegisterLayout>
    @usableFromInline let values: UnsafeMutablePointer<UInt64>
    /// The slot at each granule of the address space, -1 where there is no register.
    @usableFromInline let slotAt: UnsafeMutablePointer<Int32>
    @usableFromInline let registerOfSlot: UnsafeMutablePointer<UInt16>
    @usableFromInline let granuleShift: UInt64
    /// The address space that `slotAt` covers: up to the end of the last register.
    @usableFromInline let coveredBytes: UInt64
    @usableFromInline let control: UnsafeMutablePointer<Control>
    /// What ``setTap(_:)`` was given.
    @usableFromInline let tap: UnsafeMutablePointer<UnsafeRawPointer?>
    let cells: UnsafeMutablePointer<Cell>
    let fields: UnsafeMutablePointer<FieldLayout>
    let interruptTerms: [InterruptTerm]
    let slotCount: Int

    /// What rarely used semantics need beside the value.
    struct Cell: Sendable {
        /// The hardware's level, bit by bit.
        var input: UInt64 = 0
        /// Write-once bits that have been written.
        var written: UInt64 = 0
        var readBuffer: UInt64 = 0
        var writeBuffer: UInt64 = 0
        /// The lanes of `writeBuffer` that wait.
        var writeLanes: UInt64 = 0
    }

    @usableFromInline struct Control: Sendable {
        @usableFromInline var reservedBitWrites: UInt64 = 0
        var failures: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    }

    /// Creates the registers with their power-on values.
    public init(_ map: RegisterMap, number: Int = 0) {
        self.map = map
        self.number = number
        let compiled = CompiledMap(map)
        slotCount = compiled.registerOfSlot.count
        granuleShift = compiled.granuleShift
        coveredBytes = compiled.coveredBytes
        interruptTerms = compiled.interruptTerms
        layouts = .allocate(copying: compiled.layouts)
        fields = .allocate(copying: compiled.fields)
        slotAt = .allocate(copying: compiled.slotAt)
        registerOfSlot = .allocate(copying: compiled.registerOfSlot)
        values = .allocate(copying: [UInt64](repeating: 0, count: slotCount))
        cells = .allocate(copying: [Cell](repeating: Cell(), count: slotCount))
        control = .allocate(copying: [Control()])
        tap = .allocate(copying: [nil])
        reset(.powerOn)
    }

    deinit {
        layouts.deallocate()
        fields.deallocate()
        slotAt.deallocate()
        registerOfSlot.deallocate()
        values.deallocate()
        cells.deallocate()
        control.deallocate()
        tap.deallocate()
    }

    // MARK: The bus side

    /// Serves a software access, with all side effects: `access.address` is relative to the block.
    ///
    /// A write to bits without a field is counted (``reservedBitWrites``) and otherwise `ok`; every other mistake comes back as
    /// the status that names it, counted too, and changes nothing.
    @inlinable public func access<Model: RegisterModel>(_ access: inout BusAccess, model: Model) -> BusStatus {
        let offset = access.address
        guard offset < coveredBytes else { return accessOutside(&access, model) }
        let slot = Int(slotAt[Int(truncatingIfNeeded: offset &>> granuleShift)])
        guard slot >= 0 else { return accessOutside(&access, model) }
        let register = Int(registerOfSlot[slot])
        let layout = layouts + register
        let size = UInt64(access.size)
        guard layout.pointee.sizes & (1 &<< size) != 0 else { return failed(.wrongSize, access, slot) }
        guard offset & (size &- 1) == 0 else { return failed(.misaligned, access, slot) }
        let shift = (offset & (layout.pointee.bytes &- 1)) &* 8
        let lanes = (UInt64.max &>> (64 &- size &* 8)) &<< shift
        let index = RegisterIndex(rawValue: register)
        let element = slot &- layout.pointee.firstSlot
        access.time &+= layout.pointee.latency

        if access.isWrite {
            guard layout.pointee.writable != 0 else { return failed(.readOnly, access, slot) }
            let events = model.willWrite(index, element, access)
            let old = values[slot]
            let data = (access.value &<< shift) & lanes
            let reserved = data & ~layout.pointee.defined
            if layout.pointee.flags.contains(.writeEffects) || events.set | events.clear != 0 {
                guard write(layout, slot, data: data, lanes: lanes, events: events) else {
                    if reserved != 0 { control.pointee.reservedBitWrites &+= 1 }
                    tell(register, element, shift: shift, old: old, new: old)
                    return .ok
                }
            } else {
                values[slot] = old ^ ((old ^ data) & layout.pointee.plain & lanes)
            }
            let new = values[slot]
            model.didWrite(index, element, old: old, new: new, access)
            if layout.pointee.singlePulse != 0 { values[slot] &= ~layout.pointee.singlePulse }
            if reserved != 0 { control.pointee.reservedBitWrites &+= 1 }
            tell(register, element, shift: shift, old: old, new: new)
        } else {
            guard layout.pointee.readable != 0 else { return failed(.writeOnly, access, slot) }
            model.willRead(index, element, access)
            let old = values[slot]
            let value = layout.pointee.flags.contains(.readEffects) ? read(layout, slot, lanes: lanes) : old
            access.value = (value & layout.pointee.readable & lanes) &>> shift
            model.didRead(index, element, value: value, access)
            tell(register, element, shift: shift, old: old, new: values[slot])
        }
        return .ok
    }

    /// What a software read would return, without any side effect; nil where no register answers or it can't be read so.
    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        guard let slot = slot(at: address) else { return nil }
        let layout = layouts[Int(registerOfSlot[slot])]
        guard (1...8).contains(size), layout.sizes & (1 << UInt64(size)) != 0, address & UInt64(size - 1) == 0, layout.readable != 0 else {
            return nil
        }
        let shift = (address & (layout.bytes - 1)) * 8
        let isUpperWord = layout.flags.contains(.buffersReads) && shift != 0
        return ((isUpperWord ? cells[slot].readBuffer : values[slot]) & layout.readable) >> shift & ones(size * 8)
    }

    /// The same, for a block that has memory windows.
    public func peek<Model: RegisterModel>(_ address: UInt64, size: Int, model: Model) -> UInt64? {
        if let index = window(at: address, size: size) {
            return model.peek(address - map.windows[index].offset, size: size, window: .init(rawValue: index))
        }
        return peek(address, size: size)
    }

    @usableFromInline func slot(at address: UInt64) -> Int? {
        guard address < coveredBytes else { return nil }
        let slot = slotAt[Int(address >> granuleShift)]
        return slot < 0 ? nil : Int(slot)
    }

    @usableFromInline func window(at address: UInt64, size: Int) -> Int? {
        map.windows.firstIndex { address >= $0.offset && address - $0.offset < $0.size && UInt64(size) <= $0.size - (address - $0.offset) }
    }

    /// An access to no register: to a memory window, or a mistake.
    @inlinable @inline(never)
    func accessOutside<Model: RegisterModel>(_ access: inout BusAccess, _ model: Model) -> BusStatus {
        guard let index = window(at: access.address, size: Int(access.size)) else { return failed(.unmapped, access, -1) }
        if let status = windowRefusal(index, isWrite: access.isWrite) { return failed(status, access, -1) }
        let address = access.address
        access.address = address &- map.windows[index].offset
        let status = model.access(&access, window: .init(rawValue: index))
        access.address = address
        if status != .ok { return failed(status, access, -1) }
        return .ok
    }

    @usableFromInline func windowRefusal(_ index: Int, isWrite: Bool) -> BusStatus? {
        let software = map.windows[index].software
        if isWrite { return software.canWrite ? nil : .readOnly }
        return software.canRead ? nil : .writeOnly
    }

    // MARK: What became of accesses

    /// Leaves what each access from now on does in a ``RegisterTap``; nil ends that.
    ///
    /// - Parameter place: where a pointer to the tap is, which may be to another one for each access. It must outlive that.
    public func setTap(_ place: UnsafeRawPointer?) { tap.pointee = place }

    @inlinable @inline(__always)
    func tell(_ register: Int, _ element: Int, shift: UInt64, old: UInt64, new: UInt64) {
        guard let place = tap.pointee else { return }
        let tap = place.load(as: UnsafeMutablePointer<RegisterTap>.self)
        // `shift` is 8 times the byte.
        tap.pointee.place = UInt64(truncatingIfNeeded: number &+ register &+ element &<< 16) | shift &<< (RegisterTap.byteShift &- 3)
        tap.pointee.old = old
        tap.pointee.new = new
    }

    /// Accesses that ended with this status, ever.
    public func failures(_ status: BusStatus) -> UInt64 {
        withUnsafeBytes(of: &control.pointee.failures) { $0.load(fromByteOffset: Int(status.rawValue & 7) * 8, as: UInt64.self) }
    }

    /// Writes that set bits without a field, ever.
    public var reservedBitWrites: UInt64 { control.pointee.reservedBitWrites }

    @usableFromInline @inline(never)
    func failed(_ status: BusStatus, _ access: BusAccess, _ slot: Int) -> BusStatus {
        withUnsafeMutableBytes(of: &control.pointee.failures) { counts in
            let place = Int(status.rawValue & 7) * 8
            counts.storeBytes(of: counts.load(fromByteOffset: place, as: UInt64.self) &+ 1, toByteOffset: place, as: UInt64.self)
        }
        if slot >= 0 {
            let register = Int(registerOfSlot[slot]), layout = layouts + register, byte = access.address & (layout.pointee.bytes - 1)
            tell(register, slot - layout.pointee.firstSlot, shift: byte * 8, old: values[slot], new: values[slot])
        }
        return status
    }
}

extension UnsafeMutablePointer {
    /// Memory that holds the array's elements; at least one, so that the pointer is always good.
    fileprivate static func allocate(copying array: [Pointee]) -> UnsafeMutablePointer {
        let memory = UnsafeMutablePointer.allocate(capacity: Swift.max(array.count, 1))
        memory.initialize(from: array, count: array.count)
        return memory
    }
}
