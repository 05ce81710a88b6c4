//! A small client.

use fake_kustomer::{Config, Running, Simulator};
use serde_json::{Value, json};

pub(crate) struct Client {
    pub(crate) sim: Running,
    agent: ureq::Agent,
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Client {
    pub(crate) fn new(config: Config) -> Self {
        let sim = Simulator::start(config).unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(10)))
            .build()
            .into();
        let token = sim.token().to_owned();
        Self { sim, agent, token }
    }

    pub(crate) fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        let url = format!("{}{path}", self.sim.url());
        let bearer = format!("Bearer {}", self.token);
        read(self.agent.get(url).header("authorization", bearer).call()?)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap()
    }

    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let url = format!("{}{path}", self.sim.url());
        let bearer = format!("Bearer {}", self.token);
        let request = self.agent.post(url).header("authorization", bearer);
        read(request.send(body.to_string().as_bytes())?)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).unwrap()
    }

    /// One page of a search.
    pub(crate) fn search(&self, body: &Value, page: u64, size: u64) -> Answer {
        self.post(&format!("/v1/customers/search?page={page}&pageSize={size}"), body)
    }

    /// All records of a search, following links; the total of the first page too.
    pub(crate) fn search_all(&self, body: &Value, size: u64) -> (u64, Vec<Value>) {
        let mut path = format!("/v1/customers/search?page=1&pageSize={size}");
        let mut all = Vec::new();
        let mut total = None;
        loop {
            let page = self.post(&path, body);
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            total.get_or_insert(page["meta"]["total"].as_u64().unwrap());
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["links"]["next"].as_str() {
                Some(next) => next.clone_into(&mut path),
                None => return (total.unwrap(), all),
            }
        }
    }

    /// All records of a list.
    pub(crate) fn list_all(&self, path: &str) -> Vec<Value> {
        let mut path = path.to_owned();
        let mut all = Vec::new();
        loop {
            let page = self.get(&path).json();
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["links"]["next"].as_str() {
                Some(next) => next.clone_into(&mut path),
                None => return all,
            }
        }
    }
}

fn read(response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let body = response.into_body().into_with_config().limit(64 << 20).read_to_vec()?;
    Ok(Answer { status, headers, body })
}

/// A search body over a time range.
pub(crate) fn between(context: &str, low: i64, high: i64) -> Value {
    let object = context.split('_').next().unwrap();
    let key = format!("{object}_updated_at");
    json!({
        "queryContext": context,
        "and": [
            {&key: {"gte": fake_kustomer::timestamp(low)}},
            {&key: {"lte": fake_kustomer::timestamp(high)}},
        ],
        "sort": [{&key: "asc"}],
    })
}

pub(crate) fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

pub(crate) fn ids(records: &[Value]) -> Vec<String> {
    records.iter().map(id).collect()
}

pub(crate) fn updated_ms(record: &Value) -> i64 {
    ms(&record["attributes"]["updatedAt"])
}

pub(crate) fn ms(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// A repeatable number below `bound`.
pub(crate) fn chance(seed: u64, bound: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xabcd;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % bound
}
