import Simulation

// All that changes in a block, as snapshots have it. What the map says is compiled anew.

extension RegisterBlock: ArchivedModel {
    /// Saves or replaces every value, with levels that hardware holds and accesses that are half done. Who observes the block stays.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section(map.name) { (archive, _) throws(SnapshotError) in
            let value = MemoryLayout<UInt64>.stride
            try archive.sparseMemory(UnsafeMutableRawBufferPointer(start: values, count: slotCount * value), block: 8 * value)
            // Models index by what their fields can hold: a bit outside all fields would lead them astray.
            for slot in 0..<slotCount where archive.isLoading {
                let register = Int(registerOfSlot[slot])
                try archive.require(values[slot] & ~layouts[register].defined == 0, strayBits(slot))
            }
            // Most registers have nothing beside their value.
            let cell = MemoryLayout<Cell>.stride
            try archive.sparseMemory(UnsafeMutableRawBufferPointer(start: cells, count: slotCount * cell), block: 8 * cell)
            try archive.memory(UnsafeMutableRawBufferPointer(start: control, count: MemoryLayout<Control>.size))
        }
    }

    private func strayBits(_ slot: Int) -> String {
        let register = Int(registerOfSlot[slot])
        let element = map.registers[register].count > 1 ? "[\(slot - layouts[register].firstSlot)]" : ""
        let (fields, found) = (String(layouts[register].defined, radix: 16), String(values[slot], radix: 16))
        return "\(map.registers[register].name)\(element): expected bits of 0x\(fields), found 0x\(found)"
    }
}
