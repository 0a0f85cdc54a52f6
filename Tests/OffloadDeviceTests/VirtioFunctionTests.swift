import OffloadDevice
import PCIExpress
import Synchronization
import Testing
import Virtio

private func frame(to destination: String, from source: String, bytes: Int = 64) -> [UInt8] {
    MACAddress(destination)!.octets + MACAddress(source)!.octets + (0..<bytes - 12).map { UInt8(truncatingIfNeeded: $0) }
}

/// Functions that are network devices and consoles, in a whole machine.
@Suite struct VirtioFunctionTests {
    private static let pf1 = HierarchyDescription.index(ofFurther: 1), pf2 = HierarchyDescription.index(ofFurther: 2)

    private static let text = """
        virtual_functions: {total: 4, enabled: 3, kind: net, network: {backend: switch}}
        physical_functions:
          - {function: 1, kind: net, mac: 52:54:00:00:00:11}
          - {function: 2, kind: console, columns: 132, rows: 50}
        memory: {host: 16 MiB}
        """

    private let machine: Machine

    init() throws {
        machine = try Machine(MachineDescription(yaml: Self.text, file: "m"), pace: .lockstep)
    }

    @Test func configurationSpaceTellsTheKinds() {
        machine.inspect { device in
            let hierarchy = device.hierarchy
            #expect(hierarchy.function(Self.pf1)!.readConfiguration(0, size: 4) == 0x1000_1af4)
            #expect(hierarchy.function(Self.pf1)!.readConfiguration(8, size: 4) == 0x0200_0000)
            #expect(hierarchy.function(Self.pf1)!.readConfiguration(0x2c, size: 4) == 0x0001_1af4)
            #expect(hierarchy.function(Self.pf2)!.readConfiguration(0, size: 4) == 0x1003_1af4)
            #expect(hierarchy.function(Self.pf2)!.readConfiguration(0x2c, size: 4) == 0x0003_1af4)
            #expect(hierarchy.description.virtualFunction.deviceID == 0x1041)
            #expect(hierarchy.function(Self.pf1)!.vectorCount == 4 && hierarchy.function(Self.pf2)!.vectorCount == 3)
            #expect(device.virtioFunction(1)?.network != nil && device.virtioFunction(1)?.block == nil)
            #expect(device.virtioFunction(1)?.legacy == nil && device.virtioFunction(Self.pf1)?.legacy != nil)
        }
    }

    @Test func virtualFunctionsReachEachOtherThroughTheSwitch() {
        let drivers = (1...3).map { NetworkDriver(machine, function: $0, offset: UInt64($0) << 20) }
        let addresses = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"]
        func received() -> [Bool] {
            machine.advance(by: 20_000)
            return drivers.map { $0.next() != nil }
        }
        drivers[0].send(frame(to: addresses[1], from: addresses[0]))
        #expect(received() == [false, true, true])
        drivers[1].send(frame(to: addresses[0], from: addresses[1]))
        #expect(received() == [true, false, false])
        for _ in 0..<20 { drivers[0].send(frame(to: addresses[1], from: addresses[0], bytes: 1000)) }
        machine.advance(by: 200_000)
        #expect((0..<20).allSatisfy { _ in drivers[1].next()?.count == 1000 } && drivers[2].next() == nil)
        machine.inspect { device in
            #expect(device.fromHost.bytes(of: .virtualMachine(1)) > 20_000)
            #expect(device.toHost.bytes(of: .virtualMachine(2)) > 20_000)
            #expect(device.ethernet.state.forwarded == 21 && device.ethernet.state.flooded == 1)
            #expect(device.isIdle)
        }
    }

    /// Nobody reads the memory of a driver whose card is gone.
    @Test func aCardIsPulledOutWhileQueuesArePolled() throws {
        var description = try MachineDescription(yaml: Self.text, file: "m")
        description.service.polling = 100_000
        let machine = try Machine(description, pace: .lockstep)
        func isPolling() -> Bool { machine.inspect { $0.virtioFunction(1)!.device.isPolling } }
        let drivers = (1...2).map { NetworkDriver(machine, function: $0, offset: UInt64($0) << 20) }
        let sent = frame(to: "02:00:00:00:00:02", from: "02:00:00:00:00:01")
        drivers[0].send(sent)
        machine.advance(by: 20_000)
        #expect(drivers[1].next() == sent && isPolling())
        machine.perform(.setCard(isPresent: false))
        #expect(!isPolling() && machine.inspect { $0.isIdle })
        drivers[0].send(sent)
        let before = Array(machine.hostMemory.bytes)
        machine.advance(by: 1_000_000)
        #expect(drivers[1].next() == nil && machine.hostMemory.bytes.elementsEqual(before))
        // Of another card in the slot nothing is polled that its own driver hasn't set up.
        for input in [.setCard(isPresent: true), .configureFunction(0), .setVirtualFunctions(2)] as [HostInput] { machine.perform(input) }
        machine.advance(by: 1_000_000)
        #expect(!isPolling() && drivers[1].next() == nil)
        let others = (1...2).map { NetworkDriver(machine, function: $0, offset: UInt64($0) << 20) }
        others[0].send(sent)
        machine.advance(by: 20_000)
        #expect(others[1].next() == sent && isPolling())
    }

    @Test func aLegacyDriverSendsThroughTheIOBAR() {
        #expect(machine.read(Self.pf1, 0, 0x14, 4) == 0x0000_5452)
        let driver = NetworkDriver(machine, function: Self.pf1, isLegacy: true, offset: 0)
        let sent = frame(to: "52:54:00:00:00:11", from: "02:00:00:00:00:01")
        driver.send(sent)
        machine.advance(by: 20_000)
        #expect(driver.next() == sent)
        // INTx, which reading the legacy ISR status lowers.
        #expect(machine.interruptCount(function: Self.pf1) > 0)
        #expect(machine.read(Self.pf1, 0, 0x13, 1) == 1 && machine.read(Self.pf1, 0, 0x13, 1) == 0)
        let interrupts = machine.inspect { $0.hierarchy.function(Self.pf1)!.interrupts }
        #expect(interrupts.line == false && !interrupts.isMSIXEnabled && interrupts.vectors.count == 4)
        #expect("\(interrupts)".contains("\nvector 0: address 0x0 data 0x0 masked\n"))
    }

    /// A frame on its way is part of the state, wherever it is.
    @Test func aSnapshotTakesFramesAlong() throws {
        for delay in stride(from: 100 as UInt64, to: 4000, by: 300) {
            let machine = try Machine(MachineDescription(yaml: Self.text, file: "m"), pace: .lockstep)
            let driver = NetworkDriver(machine, function: Self.pf1, bar: 4, offset: 0)
            let sent = frame(to: "52:54:00:00:00:11", from: "02:00:00:00:00:01")
            driver.send(sent)
            machine.advance(by: delay)
            let snapshot = machine.inspect { $0.capture() }
            machine.advance(by: 20_000)
            #expect(driver.next() == sent, "after \(delay) cycles")
            let other = try Device(snapshot.description)
            try other.restore(try Snapshot(bytes: snapshot.bytes))
            #expect(other.capture().digest == snapshot.digest, "after \(delay) cycles")
            let end = other.scheduler.now + 20_000
            while other.scheduler.now < end { other.runRound(until: end) }
            #expect(other.virtioFunction(Self.pf1)?.network?.state.counters.received == 1, "after \(delay) cycles")
        }
    }

    @Test func aConsoleIsHeardAndTypedAt() {
        let heard = Mutex<[UInt8]>([])
        machine.onConsoleOutput(function: Self.pf2) { bytes in heard.withLock { $0 += bytes } }
        #expect(machine.read(Self.pf2, 4, 0x2000, 4) == 50 << 16 | 132)
        #expect(machine.typeAtConsole(function: Self.pf2, [1]) == 0, "there is no driver")
        #expect(machine.typeAtConsole(function: 1, [1]) == 0)
        // A console's queues are a network device's first pair: frames without their headers are text.
        let driver = NetworkDriver(machine, function: Self.pf2, bar: 4, offset: 0)
        driver.send(Array("hello\n".utf8))
        machine.advance(by: 20_000)
        #expect(heard.withLock { $0.suffix(6) } == Array("hello\n".utf8))
        #expect(machine.typeAtConsole(function: Self.pf2, Array("0123456789abtyped".utf8)) == 17)
        machine.advance(by: 20_000)
        #expect(driver.next() == Array("typed".utf8))
    }

    @Test func aLinkThatIsPulledOutLosesFrames() throws {
        let driver = NetworkDriver(machine, function: Self.pf1, bar: 4, offset: 0)
        #expect(machine.perform(.setLink(function: Self.pf1, isUp: false)).isDone)
        #expect(machine.read(Self.pf1, 4, 0x2006, 2) == 0)
        driver.send(frame(to: "52:54:00:00:00:11", from: "02:00:00:00:00:01"))
        machine.advance(by: 20_000)
        #expect(driver.next() == nil)
        #expect(machine.perform(.setLink(function: Self.pf1, isUp: true)).isDone)
        #expect(machine.perform(.receiveFrame(function: Self.pf1, [UInt8](repeating: 7, count: 60))).isDone)
        machine.advance(by: 20_000)
        #expect(driver.next() == [UInt8](repeating: 7, count: 60))
        for input: HostInput in [.setLink(function: Self.pf2, isUp: true), .receiveFrame(function: 99, [])] {
            #expect(!machine.perform(input).isDone)
        }
    }

    @Test func theTextOfADescriptionIsReadBack() throws {
        let description = try MachineDescription(
            yaml: """
                wire: {bandwidth: 1 GB/s, latency: 7}
                service: {packet_cost: 9}
                virtual_functions:
                  kind: net
                  network: {backend: switch, queues: 2, mtu: 9000}
                  networks:
                    - {vf: 2, mac: 52:54:00:00:00:02}
                    - {vf: 3, backend: pcap, input: "a b", output: c}
                physical_functions:
                  - {function: 1, kind: net, backend: tap, interface: tap0}
                  - {function: 2, kind: console, columns: 3}
                  - {function: 3, kind: block, size: 512}
                """, file: "m")
        #expect(try MachineDescription(yaml: description.yaml, file: "n") == description)
        #expect(description.virtualFunctions.settings(of: 2).network.queues == 2)
        #expect(description.virtualFunctions.settings(of: 3).network.backend == .capture(input: "a b", output: "c"))
        #expect(description.physicalFunctions[0].settings.network.backend == .tap("tap0"))
        #expect((description.wire.bandwidth, description.service.packetCost) == (1_000_000_000, 9))
    }

    @Test(arguments: [
        ("virtual_functions: {kind: disk}\n", "m:1: virtual_functions.kind: one of block, net, console expected, 'disk' found"),
        ("virtual_functions: {kind: net, disk: {}}\n",
         "m:1: virtual_functions.disk: unknown key; expected one of total, enabled, kind, network, networks"),
        ("virtual_functions: {kind: net, network: {backend: wifi}}\n",
         "m:1: virtual_functions.network.backend: one of loop, switch, pcap, tap expected, 'wifi' found"),
        ("virtual_functions: {kind: net, network: {mac: 52:54:00:00:00:01}}\n",
         "m:1: virtual_functions.network.mac: an address of one function expected: give it in 'networks'"),
        ("virtual_functions: {kind: net, network: {output: x}}\n",
         "m:1: virtual_functions.network.output: only expected with 'backend: pcap'"),
        ("virtual_functions: {kind: net, network: {backend: pcap, output: x}}\n",
         "m: virtual function 2: the file x is virtual function 1's already"),
        ("physical_functions:\n  - {function: 1, kind: net, backend: tap}\n",
         "m:2: physical_functions[0].backend: a key 'interface' with a name of 1 to 15 characters expected with tap"),
        ("physical_functions:\n  - {function: 1, kind: net, interface: x}\n",
         "m:2: physical_functions[0].interface: only expected with 'backend: tap'"),
        ("physical_functions:\n  - {function: 1, kind: net, backend: pcap}\n",
         "m:2: physical_functions[0].backend: a key 'input' or 'output' expected with pcap"),
        ("physical_functions:\n  - {function: 1, kind: net, mac: \"01:00:00:00:00:00\"}\n",
         "m:2: physical_functions[0].mac: an address of one station, such as 52:54:00:12:34:56, expected, '01:00:00:00:00:00' found"),
        ("physical_functions:\n  - {function: 1, kind: console, rows: 0}\n",
         "m:2: physical_functions[0].rows: a number from 1 to 65535 expected, '0' found"),
        ("physical_functions:\n  - {function: 1, kind: net, size: 512}\n",
         "m:2: physical_functions[0].size: unknown key; expected one of backend, input, output, interface, mac, queues, mtu, "
             + "function, kind, packed, modern"),
    ])
    func mistakesInFunctionsAreNamed(text: String, expected: String) {
        do {
            _ = try MachineDescription(yaml: text, file: "m")
            Issue.record("no error")
        } catch {
            #expect(error.description == expected)
        }
    }

    @Test func aBadCaptureFileIsNamed() throws {
        let description = try MachineDescription(
            yaml: "physical_functions:\n  - {function: 1, kind: net, backend: pcap, input: /dev/null}\n", file: "m")
        do {
            _ = try Machine(description, pace: .lockstep)
            Issue.record("no error")
        } catch {
            #expect("\(error)" == "physical function 1: /dev/null: byte 0: expected a header of 24 bytes, found 0 bytes")
        }
    }
}

extension HostOutcome {
    fileprivate var isDone: Bool { if case .done = self { true } else { false } }
}
