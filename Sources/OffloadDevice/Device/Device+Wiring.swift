import Interconnect
import PCIExpress
import Peripherals
import Registers
import RISCV
import Simulation
import Virtio

// Which target is at which address, and which wire leads where.

extension Device {
    /// Attaches blocks and memories to the crossbar, at the addresses of the register maps.
    func attachTargets() {
        let firmware = DeviceBus.firmware.map
        let latency = description.latency.registers
        let targets: [String: any BusTarget] = [
            "ACLINT": aclint, "PLIC": plic, "UART": uart, "WDT": watchdog, "SYSCTL": systemController, "FABRIC": fabric, "WA": analyzer,
            "RM": resourceManager, "VIC": componentController, "MAILBOX": mailbox.firmware, "LOG": log, "AUDIT": audit,
            "HOSTIF": mailbox.host, "LOG_HOST": log.host, "VIC_HOST": componentController.host,
        ]
        for block in firmware.blocks {
            guard let target = targets[block.name] else { preconditionFailure("nothing answers as \(block.name)") }
            let index = crossbar.attach(target, name: block.name, latency: latency)
            crossbar.map(index, in: .firmware, at: block.base, size: Self.pages(block.map.size))
        }
        // Harts come this way only when something is special about a memory.
        let memories: [(String, any BusTarget)] = [("ROM", rom), ("SHARED", shared), ("SRAM", sram)]
        for (name, target) in memories {
            let index = crossbar.attach(target, name: name, latency: description.latency.sharedMemory)
            crossbar.map(index, in: .firmware, at: firmware.memory(name).offset, size: firmware.memory(name).size)
            if name == "SHARED" { crossbar.map(index, in: .host, at: Self.sharedBase, size: firmware.memory(name).size) }
        }
        for block in DeviceBus.physicalFunction.map.blocks {
            guard let target = targets[block.name] else { preconditionFailure("nothing answers as \(block.name)") }
            let index = crossbar.attach(target, name: block.name, latency: latency)
            crossbar.map(index, in: .host, at: block.base, size: Self.pages(block.map.size))
        }
    }

    private static func pages(_ bytes: UInt64) -> UInt64 { (bytes + 0xfff) & ~0xfff }

    /// Sources of the PLIC and pins of the harts: docs/architecture.md, "The firmware's bus".
    func connectInterrupts() {
        let sources = [
            uart.interrupt, watchdog.interrupt, fabric.interrupt, analyzer.interrupt, resourceManager.interrupt,
            componentController.interrupt, mailbox.firmware.interrupt, log.interrupt, systemController.interrupt,
            audit.interrupt,
        ]
        for (index, wire) in sources.enumerated() { wire.connect(to: plic, input: index + 1) }
        for hart in 0..<description.harts {
            aclint.softwareInterrupts[hart].connect(to: core, input: ManagementCore.input(.software, hart: hart))
            aclint.timerInterrupts[hart].connect(to: core, input: ManagementCore.input(.timer, hart: hart))
            plic.interrupts[hart].connect(to: core, input: ManagementCore.input(.external, hart: hart))
        }
    }

    /// BARs, DMA mappings, and the virtual functions that are there from the start.
    func connectHost() throws(MachineError) {
        let physical = hierarchy.physicalFunction
        physical.attach(BusWindow(crossbar.bus(.host), base: 0, size: 64 << 10), bar: 0)
        let sharedWindow = BusWindow(
            crossbar.bus(.host), base: Self.sharedBase, size: UInt64(shared.pages.size), memoryGuard: resourceManager)
        physical.attach(sharedWindow, bar: 2)
        do {
            for function in hierarchy.all {
                try function.domain?.map(DMAMapping(
                    address: Self.hostMemoryBase, count: UInt64(hostMemory.size), memory: hostMemory.bytes.baseAddress!))
            }
            try physical.domain?.map(DMAMapping(
                address: Self.sharedBase, count: UInt64(shared.pages.size), memory: shared.pages.bytes.baseAddress!))
            try hierarchy.setVirtualFunctions(description.virtualFunctions.enabled)
        } catch {
            throw .description("\(error)")
        }
    }
}

extension Device: HierarchyDelegate {
    public func functionReset(_ function: Int, _ kind: FunctionReset) {
        if function == 0 {
            mailbox.reset(.functionLevel)
            log.reset(.functionLevel)
            componentController.resetHost()
        } else {
            virtioFunction(function)?.transport.reset(.functionLevel)
            virtioFunction(function)?.frontEndLost(hierarchy.iommu.externalMemory)
        }
    }

    public func virtualFunctionsChanged(count: Int) {}
}

/// Harts must not go on with instructions decoded from memory that somebody else has written.
final class CodeWatch: MemoryWriteListener {
    private let map: MemoryMap
    private let rom: PlainMemory
    private let sharedBase: UInt32
    private let romBase: UInt32

    init(_ map: MemoryMap, rom: PlainMemory, at romBase: UInt32, sharedAt sharedBase: UInt32) {
        self.map = map
        self.rom = rom
        self.sharedBase = sharedBase
        self.romBase = romBase
    }

    func memoryWritten(at offset: UInt64, bytes: Int, in memory: PlainMemory) {
        map.wasWritten((memory === rom ? romBase : sharedBase) &+ UInt32(truncatingIfNeeded: offset), bytes: bytes)
    }
}
