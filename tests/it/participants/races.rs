//! Many who tell of one participant at once.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::host::{PARTICIPANTS, host_of};

on_every_setup!(of_many_who_tell_of_one_participant_with_two_codes_one_code_wins);
/// Law 4: one referral, and every caller is told the truth about theirs. On two nodes where there are two.
async fn of_many_who_tell_of_one_participant_with_two_codes_one_code_wins(setup: Setup) {
    let test = setup.start_two().await;
    let host = host_of(&test.manager("manager").await).await;
    let nodes: Vec<_> = test.nodes.iter().map(|node| host.at(&node.url)).collect();
    let mut codes = Vec::new();
    for referrer in ["olga", "anna"] {
        let made = host.tell(referrer, json!({})).await.expect(201).json();
        codes.push((made["code"].clone(), made["id"].clone()));
    }
    for round in 0..6 {
        let external = format!("ivan{round}");
        let calls = (0..16).map(|caller| {
            let (node, external, code) = (nodes[caller % 2].clone(), external.clone(), codes[caller / 2 % 2].0.clone());
            tokio::spawn(async move { (code.clone(), node.tell(&external, json!({"code": code})).await) })
        });
        let mut told = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            told.push(call.await.expect("an answer"));
        }
        let participant = host.get(&format!("{PARTICIPANTS}/{external}")).await.expect(200).json();
        let winner = codes.iter().find(|(_, id)| participant["referred_by"]["id"] == *id).expect("a referrer");
        for (code, answer) in &told {
            match (answer.status, *code == winner.0) {
                (200 | 201, true) => assert_eq!(answer.json(), participant),
                (409, false) => assert_eq!(answer.json()["code"], "already_joined"),
                _ => panic!("{code}, where {} won: {answer:?}", winner.0),
            }
        }
        assert_eq!(told.iter().filter(|(_, answer)| answer.status == 201).count(), 1);
        let rows = format!(
            "select count(*) from referrals where referee_id = (select id from users where external_id = '{external}')"
        );
        assert_eq!(test.number(&rows).await, 1);
        let codes = format!(
            "select count(*) from codes where owner_id = (select id from users where external_id = '{external}')"
        );
        assert_eq!(test.number(&codes).await, 1, "nobody's try has left a code");
    }
}

on_every_setup!(changes_erasures_and_new_codes_of_one_participant_at_once_leave_them_whole);
async fn changes_erasures_and_new_codes_of_one_participant_at_once_leave_them_whole(setup: Setup) {
    let test = setup.start_two().await;
    let host = host_of(&test.manager("manager").await).await;
    let nodes: Vec<_> = test.nodes.iter().map(|node| host.at(&node.url)).collect();
    for round in 0..4 {
        let path = format!("{PARTICIPANTS}/olga{round}");
        host.put(&path, &json!({"email": format!("a{round}@example.com")})).await.expect(201);
        let calls = (0..12).map(|caller: usize| {
            let (node, path) = (nodes[caller % 2].clone(), path.clone());
            tokio::spawn(async move {
                let email = json!({"email": format!("{}{round}@example.com", ["a", "b"][caller % 2])});
                match caller % 4 {
                    0 | 1 => node.put(&path, &email).await,
                    2 => node.post(&format!("{path}/code"), &json!({})).await,
                    _ if caller == 11 => node.delete(&path).await,
                    _ => node.get(&path).await,
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let answer = call.await.expect("an answer");
            let word = if answer.status >= 400 { answer.json()["code"].clone() } else { Value::Null };
            let right =
                matches!(answer.status, 200 | 204) || word == "participant_erased" || word == "participant_not_found";
            assert!(right, "{answer:?}");
        }
        host.get(&path).await.expect_problem(404, "participant_not_found");
        host.put(&path, &json!({})).await.expect_problem(409, "participant_erased");
    }
    // No address is left to anybody, and every code ever made is dead.
    assert_eq!(
        test.number("select count(*) from logins where login_key like '%example.com'").await,
        1,
        "the manager's"
    );
    assert_eq!(test.number("select count(*) from code_slots where code_id is not null").await, 0);
    assert_eq!(test.number("select count(*) from codes where revoked_at is null or code <> ''").await, 0);
}
